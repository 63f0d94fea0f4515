import { describe, expect, it } from "vitest";
import { factsOf, factsOfAll } from "./facts.ts";

describe("whether a file is one transaction", () => {
  it.each([
    ["CREATE TABLE a (id int); INSERT INTO a VALUES (1);", true],
    ["-- not CONCURRENTLY\nCREATE INDEX i ON a (id); /* COMMIT */", true],
    ["CREATE FUNCTION f() RETURNS int AS $$ BEGIN RETURN 1; END $$ LANGUAGE plpgsql;", true],
    ["CREATE PROCEDURE f() AS $$ BEGIN COMMIT; END $$ LANGUAGE plpgsql;", true],
    ["INSERT INTO a VALUES ('BEGIN; COMMIT; VACUUM'); SELECT 1 AS \"commit\";", true],
    ["DO $$ BEGIN RAISE NOTICE 'x'; END $$;", true],
    ["ANALYZE a; REINDEX TABLE a; ALTER TYPE t ADD VALUE 'x';", true],
    ["CREATE INDEX CONCURRENTLY i ON a (id);", false],
    ["BEGIN;\nCREATE TABLE a (i int);\nEND;\nALTER TABLE nope ADD COLUMN b int;", false],
    ["INSERT INTO a VALUES ('use -- for comments'); COMMIT;\nALTER TABLE a ADD COLUMN b int;", false],
    ["CREATE TABLE a (); ABORT; CREATE TABLE b ();", false],
    ["BEGIN; CREATE TABLE a (); COMMIT;", false],
    ["SAVEPOINT a;", false],
    ["VACUUM a", false],
    ["CALL f();", false],
    ["DO $$ BEGIN DELETE FROM a; COMMIT; END $$;", false],
    ["alter system set x = 1", false],
    ["REINDEX SCHEMA public;", false],
    ["SELECT dblink_exec('x', 'DELETE FROM a');", false],
    ["ALTER TABLE a DETACH PARTITION b CONCURRENTLY;", false],
  ])("%s", async (sql, expected) => {
    expect((await factsOf(sql)).oneTransaction).toBe(expected);
  });
});

describe("whether a file may wait for as long as a statement may run", () => {
  it.each([
    ["CREATE INDEX CONCURRENTLY i ON a (id);", true, true],
    ["-- first\nCREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON a (id)", true, true],
    ["DROP INDEX CONCURRENTLY i;", true, true],
    ["REINDEX INDEX CONCURRENTLY i;", true, true],
    ["REINDEX (CONCURRENTLY) TABLE a;", true, true],
    ["VACUUM ANALYZE a;", true, true],
    ["VACUUM FULL a;", false, true],
    ["ALTER TABLE a VALIDATE CONSTRAINT c;", true, false],
    ["REFRESH MATERIALIZED VIEW CONCURRENTLY m;", true, false],
    ["ALTER TABLE a DETACH PARTITION b CONCURRENTLY;", true, false],
    ["ALTER TABLE a VALIDATE CONSTRAINT c, ADD COLUMN d int;", false, false],
    ["ALTER TABLE a VALIDATE CONSTRAINT c; SELECT 1;", false, false],
    ["CREATE INDEX i ON a (id);", false, false],
    ["ALTER TABLE a ADD COLUMN b int;", false, false],
    ["", false, false],
  ])("%s", async (sql, waits, runsAgain) => {
    expect(await factsOf(sql)).toMatchObject({ waits, runsAgain });
  });
});

describe("statements beyond the database", () => {
  it.each([
    ["SELECT 1;\nALTER DATABASE togather SET work_mem = '5MB';", ["2 ALTER DATABASE … SET"]],
    ["ALTER ROLE CURRENT_USER SET search_path = app;", ["1 ALTER ROLE … SET"]],
    ["ALTER USER x PASSWORD 'y';", ["1 ALTER ROLE"]],
    ["REVOKE CONNECT ON DATABASE togather FROM PUBLIC;", ["1 REVOKE ON DATABASE"]],
    ["GRANT a TO b;", ["1 GRANT of a role"]],
    ["CREATE ROLE x;", ["1 CREATE ROLE"]],
    ["DROP OWNED BY x;", ["1 DROP OWNED"]],
    ["COMMENT ON DATABASE togather IS 'x';", ["1 COMMENT ON DATABASE"]],
    [
      "ALTER DATABASE a OWNER TO b; ALTER DATABASE a RENAME TO c;",
      ["1 change of owner of a DATABASE", "1 rename of a DATABASE"],
    ],
    ["ALTER SYSTEM SET work_mem = '5MB';", ["1 ALTER SYSTEM"]],
    ["COPY a TO PROGRAM 'cat';", ["1 COPY … PROGRAM"]],
    ["SELECT dblink_exec('host=x', 'DROP TABLE a');", ["1 dblink_exec()"]],
    [
      "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'x') THEN CREATE ROLE x; END IF; END $$;",
      ["1 a DO block with such a statement"],
    ],
    ["SELECT pg_create_logical_replication_slot('a', 'pgoutput');", ["1 pg_create_logical_replication_slot()"]],
    [
      "SELECT pg_drop_replication_slot('a'), pg_replication_origin_create('b');",
      ["1 pg_drop_replication_slot()", "1 pg_replication_origin_create()"],
    ],
    [
      "DO $$ BEGIN PERFORM pg_terminate_backend(pid) FROM pg_stat_activity; END $$;",
      ["1 a DO block with such a statement"],
    ],
    ["DO $$ BEGIN COPY t TO PROGRAM 'cat'; END $$;", ["1 a DO block with such a statement"]],
    ["DO $$ BEGIN COMMENT ON DATABASE a IS 'x'; END $$;", ["1 a DO block with such a statement"]],
    [
      "CREATE FUNCTION s.f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN\n EXECUTE 'ALTER\n ROLE x NOLOGIN'; END $$;\nSELECT s.f();",
      ["4 f()"],
    ],
    [
      "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN CREATE ROLE x; END $$;\nCALL p();\nDO $$ BEGIN CALL p(); END $$;",
      ["2 p()", "3 a DO block with such a statement"],
    ],
    [
      "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'SELECT 1'; SELECT f(); DO $$ BEGIN CREATE USER MAPPING FOR a SERVER b; END $$;",
      [],
    ],
    [
      "GRANT SELECT ON a TO b; GRANT USAGE ON SCHEMA s TO b; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO b; COMMENT ON TABLE a IS 'x';",
      [],
    ],
    ["DO $$ BEGIN UPDATE a SET b = 1; END $$; SET search_path = app; COPY a FROM STDIN;", []],
  ])("%s", async (sql, expected) => {
    expect((await factsOf(sql)).beyond.map(({ line, what }) => `${line} ${what}`)).toEqual(expected);
  });
});

it("knows which indexes a file makes on tables of others", async () => {
  const facts = await factsOf(
    "CREATE TABLE a (id int); CREATE INDEX own ON a (id); CREATE INDEX IF NOT EXISTS i ON s.b (id); CREATE INDEX ON c (id);",
  );
  expect(facts.indexes).toEqual([
    { name: "i", schema: "s", table: "b", ifNotExists: true },
    { name: null, schema: null, table: "c", ifNotExists: false },
  ]);
});

it("has nothing to say of a file that the parser doesn't take, nor of down files", async () => {
  const facts = await factsOfAll(
    new Map([
      ["1_a.up.sql", "boom"],
      ["1_a.down.sql", "DROP TABLE a;"],
      ["2_b.up.sql", "SELECT 1;\n\nSELECT 2;"],
    ]),
  );
  expect(facts).toMatchObject({ "1_a.up.sql": null, "2_b.up.sql": { lines: [1, 3] } });
  expect(Object.keys(facts)).toHaveLength(2);
});
