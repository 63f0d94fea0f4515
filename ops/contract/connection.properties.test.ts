import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  clientConfig,
  connectionEnvironment,
  formatDatabaseUrl,
  normalizeDatabaseUrl,
  parseDatabaseUrl,
} from "./connection.ts";
import { createRedactor } from "./redact.ts";

const odd = fc.constantFrom(
  ...Array.from("%@/:?#$'\"\\ \n\t&=+;,[]{}|^`~*!()<>"),
  ".",
  "..",
  "%40",
  "%2F",
  "%",
  "é",
  "日本",
  "🔑",
  "\u00a0",
  "\u202e",
  "\ufeff",
);
/** Possible secrets, users and databases: odd characters and any others, but not NUL, which PostgreSQL refuses. */
const text = fc
  .oneof(
    fc.array(odd, { minLength: 1, maxLength: 12 }).map((parts) => parts.join("")),
    fc.string({ unit: "binary", minLength: 1 }),
    fc.string({ unit: "grapheme", minLength: 1 }),
  )
  .filter((value) => !value.includes("\0"));
const host = fc.oneof(
  fc.domain().map((name) => name.toLowerCase()),
  fc.ipV4(),
  fc.ipV6().map((address) => new URL(`http://[${address}]`).hostname.slice(1, -1)),
  fc.constantFrom("togather-production-db", "localhost", "/var/run/postgresql", "/tmp/a socket's:directory"),
);
const parts = fc.record({
  host,
  port: fc.integer({ min: 1, max: 65535 }),
  user: text,
  password: fc.option(text, { nil: undefined }),
  database: text,
});
const parameters = fc.record(
  {
    sslmode: fc.constantFrom("disable", "prefer", "require", "verify-full"),
    options: text,
    application_name: text,
    pool_max_conns: fc.constant("20"),
  },
  { requiredKeys: [] },
);

describe("a connection URL", () => {
  it("gives back what it was made of", () => {
    fc.assert(
      fc.property(parts, parameters, (made, given) => {
        const read = parseDatabaseUrl(formatDatabaseUrl({ ...made, parameters: given }));
        expect(read).toMatchObject({ ...made, sslMode: given.sslmode ?? "prefer", options: given.options ?? "" });
      }),
      { numRuns: 2000 },
    );
  });

  it("is plain ASCII with nothing in it that a shell, a log or Go's parser would trip over", () => {
    fc.assert(
      fc.property(parts, parameters, (made, given) => {
        expect(formatDatabaseUrl({ ...made, parameters: given })).toMatch(
          /^postgresql:\/\/[\w.~%-]+(:[\w.~%-]*)?@(\[[0-9a-f:.]+\]|[\w.-]*)(:\d+)?\/[\w.~%-]*(\?[\w.~%=&-]*)?$/,
        );
      }),
      { numRuns: 1000 },
    );
  });

  it("reaches every program with the same password", () => {
    fc.assert(
      fc.property(parts, (made) => {
        const connection = parseDatabaseUrl(formatDatabaseUrl(made));
        const environment = connectionEnvironment(connection, "test");
        expect(environment).toMatchObject({
          PGHOST: made.host,
          PGPORT: String(made.port),
          PGUSER: made.user,
          PGDATABASE: made.database,
        });
        expect(environment["PGPASSWORD"]).toBe(made.password);
        expect(clientConfig(connection, "test")).toMatchObject({
          host: made.host,
          port: made.port,
          user: made.user,
          database: made.database,
        });
      }),
    );
  });

  it("written by hand is completed for those who take it literally, and means the same", () => {
    // Characters that libpq and people allow, though they look wrong. Those that end a part have to be encoded.
    const lenient = fc
      .array(fc.constantFrom(...Array.from("abcXYZ019!$'\"\\ \n\t&=+;,{}|^`~*()<>é日:@"), "🔑", "%25", "%40"), {
        minLength: 1,
        maxLength: 12,
      })
      .map((some) => some.join(""));
    fc.assert(
      fc.property(lenient, parameters, (password, given) => {
        const query = new URLSearchParams(given as Record<string, string>).toString();
        const written = `postgres://user:${password}@db.example.org:5433/events?${query}`;
        const normalized = normalizeDatabaseUrl(written);
        expect(normalized).toMatch(/^postgresql:\/\/user:[\w.~%!$&'()*+,;=-]*@db\.example\.org:5433\/events(\?.*)?$/);
        expect(parseDatabaseUrl(normalized)).toEqual(parseDatabaseUrl(written));
        expect(new URL(normalized).searchParams.toString()).toBe(query);
      }),
      { numRuns: 1000 },
    );
  });

  it("of a socket or without a host stays what it was", () => {
    expect(normalizeDatabaseUrl("postgresql://u:p@/d?host=/var/run/postgresql")).toBe(
      "postgresql://u:p@/d?host=/var/run/postgresql",
    );
    expect(normalizeDatabaseUrl("postgresql:///d?host=h&user=u")).toBe("postgresql:///d?host=h&user=u");
    expect(normalizeDatabaseUrl("postgresql://u:p@[fd00::20]:5433/d?pool_max_conns=20")).toBe(
      "postgresql://u:p@[fd00::20]:5433/d?pool_max_conns=20",
    );
  });

  it("shows its password in no message, however it is broken or spelled", () => {
    // Long enough to occur only where it was put.
    const canary = fc.tuple(text, text).map(([a, b]) => `${a}canary-7f3a${b}`);
    fc.assert(
      fc.property(canary, fc.constantFrom("", "#", "/", "?", "%zz"), (password, damage) => {
        const url = formatDatabaseUrl({ host: "h", port: 1, user: "u", password, database: "d" }).replace(
          "canary",
          `${damage}canary`,
        );
        let message = "";
        try {
          parseDatabaseUrl(url, "MIGRATION_DATABASE_URL");
        } catch (error) {
          message = String(error);
          expect(message).toContain("MIGRATION_DATABASE_URL ");
        }
        expect(message).not.toContain("canary");
        const redactor = createRedactor({ DATABASE_URL: url });
        for (const spelling of [url, `password is ${password}.`, JSON.stringify({ message: password })]) {
          if (damage === "") expect(redactor.text(spelling)).not.toContain("canary");
        }
      }),
      { numRuns: 500 },
    );
  });
});
