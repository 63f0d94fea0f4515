import { describe, expect, it } from "vitest";
import { missingRoles, tolerateExistingRoles } from "./roles.ts";

const sql = tolerateExistingRoles(
  [
    "CREATE ROLE app;",
    "ALTER ROLE app WITH NOSUPERUSER INHERIT LOGIN;",
    'CREATE ROLE "odd ""one";',
    "CREATE ROLE there;",
    "ALTER ROLE app SET search_path TO '$user', 'public';",
    "GRANT app TO there GRANTED BY gone;",
    'GRANT "odd ""one" TO app WITH ADMIN OPTION, INHERIT FALSE GRANTED BY postgres;',
    "GRANT there TO here;",
  ].join("\n"),
);

describe("missingRoles", () => {
  it("makes those that are not there, and what they are members of", () => {
    const { names, statements, memberships } = missingRoles(sql, ["there", "here"]);
    expect(names).toEqual(["app", 'odd "one']);
    expect(statements.map((line) => /(?:CREATE|ALTER) ROLE [^\s;]+/.exec(line)?.[0])).toEqual([
      "CREATE ROLE app",
      "ALTER ROLE app",
      'CREATE ROLE "odd',
      "ALTER ROLE app",
    ]);
    expect(memberships).toEqual(["GRANT app TO there", 'GRANT "odd ""one" TO app WITH ADMIN OPTION, INHERIT FALSE']);
  });

  it("leaves alone what roles are members of that are there", () => {
    expect(missingRoles(sql, ["app", "there", "here", 'odd "one'])).toEqual({
      names: [],
      statements: [],
      memberships: [],
    });
  });
});
