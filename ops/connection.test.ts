import pg from "pg";
import { describe, expect, it } from "vitest";
import { clientConfig, connectionEnvironment, parseDatabaseUrl } from "./connection.ts";
import { StepError } from "./errors.ts";

const odd = "% @ / : ? # $ ' \" \\ & = + ; , \n \t ü 日本 {} [] | ^ ` ~ *";

describe("parseDatabaseUrl", () => {
  it("decodes what was encoded, whatever it is", () => {
    const text = `postgresql://${encodeURIComponent(`u${odd}`)}:${encodeURIComponent(odd)}@db.example.org:6543/${encodeURIComponent(`d${odd}`)}?sslmode=disable`;
    expect(parseDatabaseUrl(text)).toMatchObject({ host: "db.example.org", port: 6543, user: `u${odd}`, password: odd, database: `d${odd}`, sslMode: "disable" });
  });

  it.each([
    ["postgres://u:p@h/d", { host: "h", port: 5432, database: "d", sslMode: "prefer" }],
    ["postgresql://u:p@[::1]:5433/d", { host: "::1", port: 5433 }],
    ["postgresql://u:p@[fd00::20]/d", { host: "fd00::20", port: 5432 }],
    ["postgresql://u:p@%2Fvar%2Frun%2Fpostgresql/d", { host: "/var/run/postgresql" }],
    ["postgresql://u:p@/d?host=/var/run/postgresql", { host: "/var/run/postgresql" }],
    ["postgresql:///d?host=h&user=u&password=p%40&port=99", { host: "h", user: "u", password: "p@", port: 99 }],
    ["postgresql://u@h", { user: "u", password: undefined, database: "u" }],
    ["postgresql://u:p@h/d?search_path=a%20b&options=-c%20x%3D1", { options: "-c x=1 -c search_path=a\\ b" }],
    // As Go's URL parser, which the server uses: the last @ ends the password.
    ["postgresql://u:p@ss@h/d", { password: "p@ss", host: "h" }],
    ["postgresql://u:p a\"'\\ss@h/d", { password: "p a\"'\\ss" }],
    ["postgresql://u:p\nq@h/d", { password: "p\nq" }],
  ])("%s", (text, expected) => {
    expect(parseDatabaseUrl(text)).toMatchObject(expected);
  });

  it.each([
    [undefined, "is not set"],
    ["", "is not set"],
    ["mysql://u:hunter2@h/d", "doesn't begin with postgresql://"],
    ["host=h password=hunter2", "doesn't begin with postgresql://"],
    ["postgresql://u:hunter2%zz@h/d", "%"],
    ["postgresql://u:hunter2#x@h/d", "URL"],
    ["postgresql://u:1#hunter2@h/d", "#"],
    ["postgresql://u:1/hunter2@h/d", "/"],
    ["postgresql://u:1?hunter2@h/d", "?"],
    ["postgresql://:hunter2@h/d", "no user"],
    ["postgresql://u:hunter2@/d", "no host"],
    ["postgresql://u:hunter2@h/d?host=a,b", "several hosts"],
    ["postgresql://u:hunter2@h/d?sslmode=maybe", "sslmode=maybe"],
    ["postgresql://u:hunter2@h:99999/d", "URL"],
  ])("refuses %s without showing the password", (text, message) => {
    const error = ((): unknown => {
      try {
        return parseDatabaseUrl(text);
      } catch (caught) {
        return caught;
      }
    })();
    expect(error).toBeInstanceOf(StepError);
    expect((error as StepError).message).toContain(message);
    expect((error as StepError).message + String((error as StepError).hint)).not.toContain("hunter2");
  });
});

describe("what programs are given", () => {
  const connection = parseDatabaseUrl("postgresql://u:p%20w@h:1/d?sslmode=verify-full&options=-c%20x%3D1");

  it("is libpq's environment, with the server's options together", () => {
    expect(connectionEnvironment(connection, "togather-test", ["-c lock_timeout=5"])).toEqual({
      PGHOST: "h",
      PGPORT: "1",
      PGUSER: "u",
      PGPASSWORD: "p w",
      PGDATABASE: "d",
      PGSSLMODE: "verify-full",
      PGSSLROOTCERT: "/etc/ssl/certs/ca-certificates.crt",
      PGAPPNAME: "togather-test",
      PGCONNECT_TIMEOUT: "10",
      PGOPTIONS: "-c x=1 -c lock_timeout=5",
    });
  });

  it("keeps pg away from the machine's own settings", () => {
    const client = new pg.Client(clientConfig(parseDatabaseUrl("postgresql://u@h/d?sslmode=disable"), "x"));
    expect(client).toMatchObject({ host: "h", port: 5432, user: "u", database: "d" });
  });
});
