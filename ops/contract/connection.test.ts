import pg from "pg";
import { describe, expect, it } from "vitest";
import {
  clientConfig,
  connectionEnvironment,
  normalizeDatabaseUrl,
  parseDatabaseUrl,
  withDatabaseName,
} from "./connection.ts";
import { StepError } from "./errors.ts";

const odd = "% @ / : ? # $ ' \" \\ & = + ; , \n \t ü 日本 {} [] | ^ ` ~ *";

describe("parseDatabaseUrl", () => {
  it("decodes what was encoded, whatever it is", () => {
    const text = `postgresql://${encodeURIComponent(`u${odd}`)}:${encodeURIComponent(odd)}@db.example.org:6543/${encodeURIComponent(`d${odd}`)}?sslmode=disable`;
    expect(parseDatabaseUrl(text)).toMatchObject({
      host: "db.example.org",
      port: 6543,
      user: `u${odd}`,
      password: odd,
      database: `d${odd}`,
      sslMode: "disable",
    });
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
    // Like Go's URL parser, which the server uses: the last @ ends the password.
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
    ["postgresql://u:hunter2@h/d?database=e", "database="],
    ["postgresql://u:hunter2@h/d?service=live", "service="],
    ["postgresql://u:hunter2@h/d?hostaddr=10.0.0.1", "hostaddr="],
    ["postgresql://u:hunter2@h/d?dbname=a&dbname=b", "dbname= more than once"],
    ["postgresql://u:hunter2@h/d?hunter2=a&hunter2=b", "more than once"],
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

describe("a URL of another database", () => {
  it.each([
    ["postgresql://u:p@h:1/live?dbname=live", "postgresql://u:p@h:1/scratch"],
    ["postgresql://u:p@h:1/live?dbname=live&sslmode=disable", "postgresql://u:p@h:1/scratch?sslmode=disable"],
    ["postgresql://u:p@h:1/?sslmode=disable&DBNAME=live&port=5", "postgresql://u:p@h:1/scratch?sslmode=disable&port=5"],
    ["postgresql://u:p@h:1/live?db%6Eame=live&x=1", "postgresql://u:p@h:1/scratch?x=1"],
    ["postgresql://u:p@h:1?database=live", "postgresql://u:p@h:1/scratch"],
    ["postgresql://u:p@/live?host=/var/run&dbname=live", "postgresql://u:p@/scratch?host=/var/run"],
    ["postgresql://u:p@h/live?search_path=dbname", "postgresql://u:p@h/scratch?search_path=dbname"],
  ])("%s", (url, expected) => {
    expect(withDatabaseName(url, "scratch")).toBe(expected);
    expect(new URL(expected.replace("@/", "@h/")).searchParams.has("dbname")).toBe(false);
  });

  it("is named in the path alone, where all look for it", () => {
    expect(normalizeDatabaseUrl("postgres://u:p@h/?dbname=live%20x&sslmode=disable")).toBe(
      "postgresql://u:p@h/live%20x?sslmode=disable",
    );
    expect(normalizeDatabaseUrl("postgres://u:p@h/other?dbname=live")).toBe("postgresql://u:p@h/live");
  });
});
