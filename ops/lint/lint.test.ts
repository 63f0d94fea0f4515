import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { projectDirectory } from "../image.ts";
import { findingText } from "../contract/migration-findings.ts";
import { lintMigrations } from "./lint.ts";
import { rules, type RuleName } from "./rules.ts";
import { squawkProgram } from "./squawk.ts";

/** `line rule` of each finding in one file, which has its down file. Squawk's rules have their own test. */
async function lint(sql: string): Promise<string[]> {
  const { findings } = await lintMigrations(
    new Map([
      ["000007_x.up.sql", sql],
      ["000007_x.down.sql", ""],
    ]),
  );
  return findings.filter(({ rule }) => !rule.startsWith("squawk/")).map(({ line, rule }) => `${line} ${rule}`);
}

/** For each rule: files that break it, with their findings; files that don't. */
const examples: Partial<Record<RuleName, { bad: [string, ...string[]][]; good: string[] }>> = {
  syntax: {
    bad: [
      ["-- äöü €\nSELECT 'ü';\nSELEC 1;", "3 syntax"],
      ["SELECT 1;\n\\connect other", "2 syntax"],
    ],
    // Of PostgreSQL 15, 16 and 17.
    good: [
      "",
      "-- nothing",
      "CREATE TEMP TABLE a (i int); MERGE INTO a USING b ON false WHEN NOT MATCHED BY SOURCE THEN DO NOTHING RETURNING merge_action();",
      "SELECT * FROM JSON_TABLE('[1]', '$[*]' COLUMNS (a int PATH '$'));",
    ],
  },
  "drop-table": {
    bad: [
      ["\n/* a\n  /* nested */ comment */\nDROP TABLE events;", "4 drop-table"],
      ["DROP TABLE a, b.c CASCADE;", "1 drop-table", "1 drop-table"],
    ],
    good: ["CREATE TABLE a (id int); DROP TABLE public.a;"],
  },
  "drop-column": {
    bad: [
      ["ALTER TABLE events DROP COLUMN name;", "1 drop-column"],
      ["ALTER FOREIGN TABLE f DROP COLUMN name;", "1 drop-column"],
    ],
    good: ["CREATE TABLE a (id int, b int); ALTER TABLE a DROP COLUMN b;"],
  },
  "drop-type": {
    bad: [
      ["DROP TYPE mood;", "1 drop-type"],
      ["DROP DOMAIN IF EXISTS d;", "1 drop-type"],
    ],
    good: ["CREATE TYPE mood AS ENUM ('a'); DROP TYPE mood;"],
  },
  "drop-object": {
    bad: [
      ["DROP VIEW v;", "1 drop-object"],
      ["DROP TEXT SEARCH CONFIGURATION s;", "1 drop-object"],
      ["DROP CAST (text AS int);", "1 drop-object"],
      ["DROP COLLATION c;", "1 drop-object"],
      ["DROP SERVER s CASCADE;", "1 drop-object"],
      ["ALTER TABLE a NO INHERIT b;", "1 drop-object"],
      ["DROP FUNCTION f(int);", "1 drop-object"],
      ["DROP SCHEMA s CASCADE;", "1 drop-object"],
      ["DROP SEQUENCE s;", "1 drop-object"],
      ["DROP MATERIALIZED VIEW m;", "1 drop-object"],
    ],
    good: ["CREATE OR REPLACE VIEW v AS SELECT 1; DROP STATISTICS s; DROP EVENT TRIGGER e;"],
  },
  "drop-index-blocking": {
    bad: [["DROP INDEX i;", "1 drop-index-blocking"]],
    good: ["DROP INDEX CONCURRENTLY IF EXISTS i;"],
  },
  rename: {
    bad: [
      ["ALTER TABLE a RENAME TO b;", "1 rename"],
      ["ALTER TABLE a RENAME COLUMN b TO c;", "1 rename"],
      ["ALTER TYPE t RENAME TO u;", "1 rename"],
      ["ALTER TYPE t RENAME VALUE 'a' TO 'b';", "1 rename"],
      ["ALTER VIEW v RENAME TO w;", "1 rename"],
      ["ALTER FUNCTION f(int) RENAME TO g;", "1 rename"],
      ["ALTER SCHEMA s RENAME TO t;", "1 rename"],
      ["ALTER TABLE a SET SCHEMA s;", "1 rename"],
    ],
    good: [
      "ALTER INDEX a RENAME TO b;",
      "ALTER TABLE a RENAME CONSTRAINT b TO c;",
      "ALTER TYPE t ADD VALUE 'x';",
      "CREATE TABLE a (id int); ALTER TABLE a RENAME TO b; CREATE INDEX ON b (id);",
    ],
  },
  "not-null-without-default": {
    bad: [
      ["ALTER TABLE a\n  ADD COLUMN b int,\n  ADD COLUMN c int NOT NULL;", "3 not-null-without-default"],
      ["ALTER TABLE a ADD COLUMN c int NOT NULL DEFAULT NULL;", "1 not-null-without-default"],
    ],
    good: [
      "ALTER TABLE a ADD COLUMN c int NOT NULL DEFAULT 0;",
      "ALTER TABLE a ADD COLUMN c int;",
      "CREATE TABLE a (id int); ALTER TABLE a ADD COLUMN b int NOT NULL;",
    ],
  },
  "set-not-null": {
    bad: [["ALTER TABLE a ALTER COLUMN b SET NOT NULL;", "1 set-not-null"]],
    good: ["ALTER TABLE a ALTER COLUMN b DROP NOT NULL;", "ALTER TABLE a ALTER COLUMN b SET DEFAULT 1;"],
  },
  "change-type": {
    bad: [
      ["ALTER TABLE a ALTER COLUMN b TYPE bigint;", "1 change-type"],
      ["ALTER TABLE a ALTER COLUMN b SET DATA TYPE text USING b::text;", "1 change-type"],
    ],
    good: ["CREATE TABLE a (b int); ALTER TABLE a ALTER COLUMN b TYPE bigint;"],
  },
  "volatile-default": {
    bad: [
      ["ALTER TABLE a ADD COLUMN b uuid DEFAULT gen_random_uuid();", "1 volatile-default"],
      [
        "ALTER TABLE a ADD COLUMN b timestamptz NOT NULL DEFAULT clock_timestamp() + interval '1 day';",
        "1 volatile-default",
      ],
      ["ALTER TABLE a ADD COLUMN b bigserial;", "1 volatile-default"],
      ["ALTER TABLE a ADD COLUMN b bigint GENERATED ALWAYS AS IDENTITY;", "1 volatile-default"],
      ["ALTER TABLE a ADD COLUMN b int GENERATED ALWAYS AS (id * 2) STORED;", "1 volatile-default"],
    ],
    good: [
      "ALTER TABLE a ADD COLUMN b timestamptz NOT NULL DEFAULT now();",
      "ALTER TABLE a ADD COLUMN b timestamptz DEFAULT CURRENT_TIMESTAMP;",
      "ALTER TABLE a ADD COLUMN b jsonb NOT NULL DEFAULT '{}'::jsonb;",
      "ALTER TABLE a ALTER COLUMN b SET DEFAULT gen_random_uuid();",
    ],
  },
  "drop-constraint": {
    bad: [
      ["ALTER TABLE a DROP CONSTRAINT a_key;", "1 drop-constraint"],
      [
        "ALTER TABLE a DROP CONSTRAINT a_key;\nALTER TABLE a ADD CONSTRAINT a_key UNIQUE (b, c);",
        "1 drop-constraint",
        "2 unique-constraint",
      ],
      [
        "ALTER TABLE a DROP CONSTRAINT IF EXISTS c;\nALTER TABLE b ADD CONSTRAINT c CHECK (d > 0) NOT VALID;",
        "1 drop-constraint",
      ],
    ],
    good: [
      "ALTER TABLE a DROP CONSTRAINT IF EXISTS c;\nALTER TABLE a ADD CONSTRAINT c CHECK (b IN (1, 2)) NOT VALID;",
      "CREATE TABLE a (b int CONSTRAINT c CHECK (b > 0)); ALTER TABLE a DROP CONSTRAINT c;",
    ],
  },
  "drop-default": {
    bad: [
      ["ALTER TABLE a ALTER COLUMN b DROP DEFAULT;", "1 drop-default"],
      ["ALTER TABLE a ALTER COLUMN b DROP IDENTITY;", "1 drop-default"],
      ["ALTER VIEW v ALTER COLUMN b DROP DEFAULT;", "1 drop-default"],
      ["ALTER DOMAIN d DROP DEFAULT;", "1 drop-default"],
    ],
    good: [
      "ALTER TABLE a ALTER COLUMN b SET DEFAULT 1;",
      "CREATE TABLE a (b int DEFAULT 1); ALTER TABLE a ALTER COLUMN b DROP DEFAULT;",
    ],
  },
  "drop-expression": {
    bad: [
      ["SELECT 1;\nALTER TABLE a ALTER COLUMN b DROP EXPRESSION;", "2 drop-expression"],
      ["ALTER TABLE a ALTER COLUMN b DROP EXPRESSION IF EXISTS;", "1 drop-expression"],
    ],
    good: ["ALTER TABLE a ADD COLUMN b text;"],
  },
  "drop-trigger": {
    bad: [
      ["DROP TRIGGER t ON a;", "1 drop-trigger"],
      ["DROP POLICY IF EXISTS p ON s.a;", "1 drop-trigger"],
      ["DROP RULE r ON a;", "1 drop-trigger"],
      ["ALTER TABLE a DISABLE TRIGGER t;", "1 drop-trigger"],
      ["ALTER TABLE a ENABLE REPLICA TRIGGER t;", "1 drop-trigger"],
      ["ALTER TABLE a DISABLE TRIGGER ALL, DISABLE RULE r;", "1 drop-trigger", "1 drop-trigger"],
      [
        "DROP TRIGGER t ON a;\nCREATE TRIGGER t BEFORE UPDATE ON b FOR EACH ROW EXECUTE FUNCTION f();",
        "1 drop-trigger",
      ],
    ],
    good: [
      "DROP TRIGGER IF EXISTS t ON a;\nCREATE TRIGGER t BEFORE UPDATE ON public.a FOR EACH ROW EXECUTE FUNCTION f();",
      "DROP POLICY p ON a; CREATE POLICY p ON a USING (true);",
      "ALTER TABLE a ENABLE TRIGGER t;",
    ],
  },
  "row-security": {
    bad: [
      ["ALTER TABLE a ENABLE ROW LEVEL SECURITY;", "1 row-security"],
      ["ALTER TABLE a FORCE ROW LEVEL SECURITY;", "1 row-security"],
    ],
    good: [
      "CREATE TABLE a (id int); ALTER TABLE a ENABLE ROW LEVEL SECURITY;",
      "ALTER TABLE a DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;",
    ],
  },
  revoke: {
    bad: [
      ["REVOKE SELECT ON a FROM b;", "1 revoke"],
      ["REVOKE ALL ON ALL TABLES IN SCHEMA public FROM b;", "1 revoke"],
      ["REVOKE EXECUTE ON FUNCTION f(int) FROM PUBLIC;", "1 revoke"],
      ["ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE SELECT ON TABLES FROM b;", "1 revoke"],
      ["ALTER VIEW v SET (security_invoker = true);", "1 revoke"],
      [
        "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';\nREVOKE ALL ON FUNCTION f() FROM PUBLIC;",
        "2 revoke",
      ],
    ],
    good: [
      "GRANT SELECT ON a TO b;",
      "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;",
      "CREATE TABLE a (id int); REVOKE ALL ON a FROM PUBLIC;",
      "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; REVOKE ALL ON FUNCTION f() FROM PUBLIC;",
    ],
  },
  "alter-domain": {
    bad: [
      ["ALTER DOMAIN d ADD CONSTRAINT c CHECK (VALUE > 0);", "1 alter-domain"],
      ["ALTER DOMAIN d SET NOT NULL;", "1 alter-domain"],
    ],
    good: [
      "ALTER DOMAIN d ADD CONSTRAINT c CHECK (VALUE > 0) NOT VALID;",
      "ALTER DOMAIN d DROP CONSTRAINT c;",
      "CREATE DOMAIN d AS int; ALTER DOMAIN d SET NOT NULL;",
    ],
  },
  "generated-always": {
    bad: [
      ["ALTER TABLE a ALTER COLUMN id SET GENERATED ALWAYS;", "1 generated-always"],
      ["ALTER TABLE a ALTER id ADD GENERATED ALWAYS AS IDENTITY;", "1 generated-always"],
    ],
    good: [
      "ALTER TABLE a ALTER id ADD GENERATED BY DEFAULT AS IDENTITY;",
      "ALTER TABLE a ALTER id SET GENERATED BY DEFAULT;",
      "CREATE TABLE a (id int NOT NULL); ALTER TABLE a ALTER id ADD GENERATED ALWAYS AS IDENTITY;",
    ],
  },
  "change-owner": {
    bad: [["ALTER TABLE a OWNER TO b;", "1 change-owner"]],
    good: ["CREATE TABLE a (id int); ALTER TABLE a OWNER TO b;"],
  },
  "create-rule": {
    bad: [
      ["CREATE RULE r AS ON INSERT TO a DO INSTEAD NOTHING;", "1 create-rule"],
      ["CREATE OR REPLACE RULE r AS ON UPDATE TO a DO ALSO NOTHING;", "1 create-rule"],
    ],
    good: ["CREATE TABLE a (id int); CREATE RULE r AS ON INSERT TO a DO INSTEAD NOTHING;"],
  },
  "set-role": {
    bad: [
      ["SET ROLE a;\nCREATE TABLE b (id int);\nRESET ROLE;", "1 set-role"],
      ["SET LOCAL ROLE a;", "1 set-role"],
      ["SET SESSION AUTHORIZATION a;", "1 set-role"],
    ],
    good: ["SET LOCAL work_mem = '64MB';", "RESET ROLE;"],
  },
  "beyond-database": {
    bad: [
      ["ALTER DATABASE togather SET work_mem = '5MB';", "1 beyond-database"],
      ["ALTER ROLE CURRENT_USER SET search_path = app;", "1 beyond-database"],
      ["REVOKE CONNECT ON DATABASE togather FROM PUBLIC;", "1 revoke", "1 beyond-database"],
    ],
    good: ["ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO b;"],
  },
  "blocking-index": {
    bad: [
      ["CREATE INDEX i ON events (name);", "1 blocking-index"],
      ["CREATE UNIQUE INDEX ON s.events (name);", "1 blocking-index"],
    ],
    good: [
      "CREATE INDEX CONCURRENTLY i ON events (name);",
      "CREATE TABLE a (id int); CREATE INDEX ON a (id);",
      "CREATE MATERIALIZED VIEW m AS SELECT 1 AS i; CREATE UNIQUE INDEX ON m (i);",
    ],
  },
  "concurrently-with-others": {
    bad: [
      ["SELECT 1;\nCREATE INDEX CONCURRENTLY i ON events (name);", "2 concurrently-with-others"],
      [
        "DROP INDEX CONCURRENTLY i;\nREINDEX INDEX CONCURRENTLY j;",
        "1 concurrently-with-others",
        "2 concurrently-with-others",
      ],
    ],
    good: ["-- one\nCREATE INDEX CONCURRENTLY i ON events (name);\n-- two", "REINDEX INDEX CONCURRENTLY j;"],
  },
  "unique-constraint": {
    bad: [
      ["ALTER TABLE a ADD CONSTRAINT u UNIQUE (b);", "1 unique-constraint"],
      ["ALTER TABLE a ADD COLUMN b int UNIQUE;", "1 unique-constraint"],
      ["ALTER TABLE a ADD EXCLUDE USING gist (b WITH &&);", "1 unique-constraint"],
    ],
    good: ["ALTER TABLE a ADD CONSTRAINT u UNIQUE USING INDEX i;", "CREATE TABLE a (b int UNIQUE);"],
  },
  "primary-key": {
    bad: [["ALTER TABLE a ADD PRIMARY KEY (id);", "1 primary-key"]],
    good: [
      "ALTER TABLE a ADD CONSTRAINT a_pkey PRIMARY KEY USING INDEX i;",
      "CREATE TABLE a (id int); ALTER TABLE a ADD PRIMARY KEY (id);",
    ],
  },
  "constraint-not-valid": {
    bad: [
      ["ALTER TABLE a ADD CONSTRAINT c CHECK (b > 0);", "1 constraint-not-valid"],
      ["ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES c (id);", "1 constraint-not-valid"],
      ["ALTER TABLE a ADD COLUMN b int CHECK (b > 0);", "1 constraint-not-valid"],
      ["ALTER TABLE a ADD COLUMN b int DEFAULT 1 REFERENCES c;", "1 constraint-not-valid"],
    ],
    good: [
      "ALTER TABLE a ADD CONSTRAINT c CHECK (b > 0) NOT VALID;",
      "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES c (id) NOT VALID;",
      "ALTER TABLE a ADD COLUMN b int REFERENCES c (id);",
      "CREATE TABLE a (b int REFERENCES c (id) CHECK (b > 0));",
    ],
  },
  "validate-beside": {
    bad: [
      [
        "ALTER TABLE a ADD CONSTRAINT c CHECK (b > 0) NOT VALID;\nALTER TABLE a VALIDATE CONSTRAINT c;",
        "2 validate-beside",
      ],
      ["ALTER TABLE a VALIDATE CONSTRAINT c, ENABLE TRIGGER t;", "1 validate-beside"],
    ],
    good: ["ALTER TABLE a VALIDATE CONSTRAINT c;"],
  },
  truncate: { bad: [["TRUNCATE a, b;", "1 truncate", "1 truncate"]], good: ["CREATE TABLE a (id int); TRUNCATE a;"] },
  backfill: {
    bad: [
      ["UPDATE a SET b = 1;", "1 backfill"],
      ["DELETE FROM a;", "1 backfill"],
      ["WITH gone AS (\n  DELETE FROM a RETURNING *\n) INSERT INTO b SELECT * FROM gone;", "2 backfill"],
    ],
    good: [
      "CREATE TABLE a (b int); INSERT INTO a VALUES (1); UPDATE a SET b = 2;",
      "INSERT INTO a VALUES (1);",
      "CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC DELETE FROM a; END;",
    ],
  },
  "backfill-where": {
    bad: [
      ["UPDATE a SET b = 1 WHERE b IS NULL;", "1 backfill-where"],
      ["DELETE FROM a USING c WHERE a.id = c.id;", "1 backfill-where"],
      ["MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN DELETE;", "1 backfill-where"],
    ],
    good: ["CREATE TABLE a (b int); DELETE FROM a WHERE b = 1;", "SELECT 1 FROM a WHERE b = 1 FOR UPDATE;"],
  },
  "lock-table": { bad: [["LOCK TABLE a IN SHARE MODE;", "1 lock-table"]], good: ["CREATE TABLE a (id int); LOCK a;"] },
  rewrite: {
    bad: [
      ["VACUUM FULL a;", "1 rewrite"],
      ["CLUSTER a USING i;", "1 rewrite"],
      ["REINDEX TABLE a;", "1 rewrite"],
      ["REFRESH MATERIALIZED VIEW m;", "1 rewrite"],
      ["ALTER TABLE a SET UNLOGGED;", "1 rewrite"],
    ],
    good: ["VACUUM ANALYZE a;", "REFRESH MATERIALIZED VIEW CONCURRENTLY m;", "ALTER TABLE a SET (fillfactor = 70);"],
  },
  transaction: {
    bad: [["BEGIN;\nCREATE TABLE a (id int);\nCOMMIT;", "1 transaction", "3 transaction"]],
    good: ["CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$;"],
  },
  timeout: {
    bad: [
      ["SET lock_timeout = 0;", "1 timeout"],
      ["SET LOCAL statement_timeout TO '1h';", "1 timeout"],
      ["SELECT pg_catalog.set_config('lock_timeout', '0', false);", "1 timeout"],
      ["RESET ALL;", "1 timeout"],
      ["DISCARD ALL;", "1 timeout"],
    ],
    good: ["SELECT set_config('search_path', '', true);", "DISCARD TEMP;", "SET LOCAL search_path = public;"],
  },
  unseen: {
    bad: [["DO $$ BEGIN EXECUTE 'DROP TABLE a'; END $$;", "1 unseen"]],
    good: ["CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;"],
  },
  "allow-without-reason": {
    bad: [
      ["-- togather:allow drop-table\nDROP TABLE a;", "1 allow-without-reason", "2 drop-table"],
      ["-- togather:allow", "1 allow-without-reason"],
    ],
    good: ["-- togather:allow drop-table nothing reads it since v1.2.0\nDROP TABLE a;"],
  },
  "allow-unused": {
    bad: [
      ["-- togather:allow drop-tabel a reason\nSELECT 1;", "1 allow-unused"],
      ["-- togather:allow drop-table a reason\nSELECT 1;\nDROP TABLE a;", "1 allow-unused", "3 drop-table"],
      ["SELECT 1;\n-- togather:allow drop-table at the end", "2 allow-unused"],
    ],
    good: [
      "--togather:allow drop-column a reason\n-- another comment\n\nALTER TABLE b DROP COLUMN c;",
      "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN\n -- togather:allow drop-table inside of a text\n END $$;",
    ],
  },
};

describe.each(Object.entries(examples))("%s", (rule, { bad, good }) => {
  it.each(bad)("finds %s", async (sql, ...expected) => {
    expect(await lint(sql)).toEqual(expected);
    expect(expected.some((found) => found.endsWith(` ${rule}`))).toBe(true);
  });
  it.each(good)("is content with %s", async (sql) => {
    expect(await lint(sql)).toEqual([]);
  });
});

describe("the lint", () => {
  it("has an example of every rule", () => {
    expect([...Object.keys(examples), "missing-down", "not-read", "out-of-order"].sort()).toEqual(
      Object.keys(rules).sort(),
    );
  });

  it("finds an up file without its down file, unless a comment in it says why", async () => {
    const files = new Map([
      ["1_a.up.sql", "CREATE TABLE a ();"],
      ["2_b.up.sql", "CREATE TABLE b ();\n-- togather:allow missing-down nothing can be taken back"],
      ["2_x.down.sql", ""],
    ]);
    expect(
      (await lintMigrations(files)).findings.map(({ file, line, rule, level }) => ({ file, line, rule, level })),
    ).toEqual([{ file: "1_a.up.sql", line: 1, rule: "missing-down", level: "warning" }]);
  });

  it("exempts nothing that may have been there before: IF NOT EXISTS and OR REPLACE say so themselves", async () => {
    expect(
      await lint(
        "CREATE TABLE IF NOT EXISTS events (id int);\nALTER TABLE events DROP COLUMN name;\nCREATE INDEX ON events (id);",
      ),
    ).toEqual(["2 drop-column", "3 blocking-index"]);
    expect(
      await lint("CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';\nDROP FUNCTION f();"),
    ).toEqual(["2 drop-object"]);
    expect(await lint("CREATE OR REPLACE VIEW v AS SELECT 1 AS a;\nDROP VIEW v;")).toEqual(["2 drop-object"]);
    expect(await lint("CREATE TEMP TABLE IF NOT EXISTS t (id int);\nDROP TABLE t;")).toEqual([]);
  });

  it("allows one rule for one statement, and no other", async () => {
    expect(
      await lint(
        "-- togather:allow drop-column nobody reads it\nALTER TABLE a DROP COLUMN b, ALTER COLUMN c TYPE text;\nALTER TABLE a DROP COLUMN d;",
      ),
    ).toEqual(["2 change-type", "3 drop-column"]);
  });

  it("forgets what one file has made in the next one", async () => {
    const { findings } = await lintMigrations(
      new Map([
        ["1_a.up.sql", "CREATE TABLE a (id int);"],
        ["1_a.down.sql", ""],
        ["10_c.up.sql", "TRUNCATE a;"],
        ["10_c.down.sql", ""],
        ["9_b.up.sql", "CREATE INDEX ON a (id);"],
        ["9_b.down.sql", ""],
      ]),
    );
    expect(findings.map(({ file, rule }) => `${file} ${rule}`)).toEqual([
      "9_b.up.sql blocking-index",
      "10_c.up.sql truncate",
    ]);
  });

  it("looks at the files it is told to, and never at down files", async () => {
    const { files, findings } = await lintMigrations(
      new Map([
        ["1_a.up.sql", "boom"],
        ["2_b.up.sql", "SELECT 1;"],
        ["2_b.down.sql", "boom"],
      ]),
      { only: new Set(["2_b.up.sql"]) },
    );
    expect({ files, findings }).toEqual({ files: ["2_b.up.sql"], findings: [] });
  });

  it("says where, what, why and the safe way on one line", async () => {
    const [finding] = (
      await lintMigrations(
        new Map([
          ["000007_x.up.sql", "\nDROP TABLE events;"],
          ["000007_x.down.sql", ""],
        ]),
      )
    ).findings;
    expect(finding && findingText(finding)).toBe(
      `000007_x.up.sql:2: drop-table: table events: ${rules["drop-table"].why}; instead: ${rules["drop-table"].safe}`,
    );
  });

  it.runIf(squawkProgram())(
    "takes squawk's rules that ours lack as warnings, with their lines, and allows them alike",
    async () => {
      const bad = "SELECT 1;\nCREATE TABLE a (\n  b char(3) NOT NULL\n);";
      const linted = await lintMigrations(
        new Map([
          ["1_a.up.sql", bad],
          ["1_a.down.sql", ""],
        ]),
      );
      expect(linted.squawk).toBe(true);
      expect(linted.findings.map(({ file, line, rule, level }) => ({ file, line, rule, level }))).toEqual([
        { file: "1_a.up.sql", line: 3, rule: "squawk/ban-char-field", level: "warning" },
      ]);
      const allowed = bad.replace("CREATE", "-- togather:allow squawk/ban-char-field codes of countries\nCREATE");
      expect(
        (
          await lintMigrations(
            new Map([
              ["1_a.up.sql", allowed],
              ["1_a.down.sql", ""],
            ]),
          )
        ).findings,
      ).toEqual([]);
    },
  );

  it("finds nothing in this project's own migrations", async () => {
    const directory = join(projectDirectory, "migrations");
    const { files, findings } = await lintMigrations(
      new Map(readdirSync(directory).map((name) => [name, readFileSync(join(directory, name), "utf8")])),
    );
    expect(files.length).toBeGreaterThan(3);
    expect(findings.map(findingText)).toEqual([]);
  });
});
