/** Migrations on a copy of the data before they touch it: as the stack runs the step, and through a whole deployment. */
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exitCodes } from "../../cli/exit-codes.ts";
import { labels } from "../../ops/contract/names.ts";
import type { StepRequest } from "../../ops/contract/steps.ts";
import { bundledImageTag } from "../../ops/image.ts";
import type { Manifest } from "../../ops/contract/manifest.ts";
import { docker, Harness, type Outcome } from "../step-harness.ts";
import { TestStack } from "./stack.ts";

describe("rehearse", () => {
  const harness = new Harness();
  const release = { version: "v2.0.0", commit: "9f8e7d6c5b4a39281706f5e4d3c2b1a098765432" };
  const old = { version: "v1.0.0", commit: "1".repeat(40) };
  const owner = (database: string): string => harness.url(database, { name: "owner", password: "owner-password" });
  const app = (database: string): string => harness.url(database, { name: "app", password: "app-canary-4711" });
  const live = (): { DATABASE_URL: string; DATABASE_ADMIN_URL: string } => ({
    DATABASE_URL: owner("live"),
    DATABASE_ADMIN_URL: harness.url(),
  });
  let snapshot: { file: string; sha256: string };
  let trees = 0;

  beforeAll(async () => {
    await harness.setUp();
    await mkdir(harness.backups);
    await harness.sql("CREATE ROLE owner LOGIN PASSWORD 'owner-password'");
    await harness.sql("CREATE ROLE app LOGIN PASSWORD 'app-canary-4711'");
    await harness.sql("CREATE DATABASE live OWNER owner");
    await harness.sql("REVOKE ALL ON DATABASE live FROM PUBLIC; GRANT CONNECT ON DATABASE live TO app");
    await harness.sql(
      `SET ROLE owner;
       ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO app;
       CREATE TABLE events (id int PRIMARY KEY, name text, note text); INSERT INTO events SELECT n, 'e ' || n, CASE WHEN n <> 77 THEN 'n' END FROM generate_series(1, 60000) n;
       CREATE UNIQUE INDEX events_once ON events (name, id);
       CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO schema_migrations VALUES (1, false);
       CREATE TABLE river_job (id bigserial PRIMARY KEY, kind text); INSERT INTO river_job (kind) VALUES ('send_mail');
       CREATE TABLE river_queue (name text PRIMARY KEY, created_at timestamptz, metadata jsonb NOT NULL DEFAULT '{}', paused_at timestamptz, updated_at timestamptz);`,
      "live",
    );
    const taken = await harness.run(
      "snapshot",
      { backupLocation: harness.backups, retention: 20, keepVerified: 2, format: "sql.gz", recipients: [], release },
      live(),
    );
    expect(taken.exitCode, taken.stderr).toBe(0);
    snapshot = { file: basename(taken.result.file), sha256: taken.result.sha256 };
  }, 300_000);
  afterAll(async () => {
    // The containers first: they hold on to both.
    await harness.tearDown();
    await execa("docker", ["volume", "rm", "--force", `togather-${harness.name}-router-files`], { reject: false });
    await execa("docker", ["image", "rm", "--force", servingImage()], { reject: false });
  });

  async function rehearse(
    files: Record<string, string>,
    over: Partial<StepRequest<"rehearse">> = {},
    environment: Record<string, string> = live(),
  ): Promise<Outcome<"rehearse">> {
    const repository = join(harness.directory, `tree-${trees++}`);
    await mkdir(join(repository, "migrations"), { recursive: true });
    for (const [name, text] of Object.entries({ "1_first.up.sql": "SELECT 1", ...files }))
      await writeFile(join(repository, "migrations", name), text);
    return harness.run(
      "rehearse",
      {
        backupLocation: harness.backups,
        ...snapshot,
        release,
        source: { kind: "tree", repository, digest: "tree-0123456789ab", path: "migrations" },
        ...{
          river: false,
          lockTimeoutMs: 2_000,
          statementTimeoutMs: 30_000,
          verify: false,
          required: true,
          serving: null,
        },
        ...over,
      },
      environment,
    );
  }
  const scratchDatabases = (): Promise<string> =>
    harness.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'togather_scratch%'");
  const untouched = async (): Promise<void> => {
    expect(await harness.sql("SELECT version, dirty FROM schema_migrations", "live")).toBe("1|f");
    expect(
      await harness.sql(
        "SELECT string_agg(attname || ' ' || atttypid::regtype, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'events'::regclass AND attnum > 0",
        "live",
      ),
    ).toBe("id integer,name text,note text");
    expect(await harness.sql("SELECT count(*) FROM river_job", "live")).toBe("1");
    expect(await scratchDatabases()).toBe("0");
  };

  it("reports what each file takes, locks, rewrites and adds, and leaves the database alone", async () => {
    const { exitCode, stderr, result } = await rehearse({
      "2_type.up.sql": "ALTER TABLE events ALTER COLUMN id TYPE bigint;\nSELECT pg_sleep(0.3);",
      "3_new.up.sql": "CREATE TABLE extra (id int);",
      "4_index.up.sql": "CREATE INDEX CONCURRENTLY events_name_idx ON events (name)",
    });
    expect(exitCode, stderr).toBe(0);
    expect(result).toMatchObject({ skipped: null, verified: true, rows: 60_002, serving: null });
    const [type, made, index] = result.files;
    expect(type).toMatchObject({ file: "2_type.up.sql", rewritten: ["events"] });
    expect(type?.locks).toEqual([
      { table: "events", mode: "AccessExclusiveLock", heldMs: expect.any(Number) as unknown },
    ]);
    expect(type?.locks[0]?.heldMs).toBeGreaterThan(250);
    expect(type?.durationMs).toBeGreaterThan(300);
    expect(made).toMatchObject({ file: "3_new.up.sql", locks: [], rewritten: [] });
    expect(index).toMatchObject({ file: "4_index.up.sql", locks: [], rewritten: [] });
    expect(index?.bytes).toBeGreaterThan(500_000);
    expect(stderr).toMatch(
      /2_type\.up\.sql takes [\d.]+ m?s on a copy of the data; events is locked for [\d.]+ m?s: reads and writes wait \(AccessExclusiveLock\); events written anew/,
    );
    const manifest = JSON.parse(
      await readFile(join(harness.backups, snapshot.file.replace(/\.sql\.gz$/, ".json")), "utf8"),
    ) as Manifest;
    expect(manifest.verified_at).toMatch(/^\d{4}-/);
    await untouched();
  });

  /** The result of the migration after the rehearsal; nothing is applied. */
  async function migrate(
    files: Record<string, string>,
    over: Partial<StepRequest<"migrate">> = {},
  ): Promise<Outcome<"migrate">> {
    const repository = join(harness.directory, `tree-${trees++}`);
    await mkdir(join(repository, "migrations"), { recursive: true });
    for (const [name, text] of Object.entries({
      "1_first.up.sql": "SELECT 1",
      ...files,
      "9_stop.up.sql": "DROP TABLE events;",
    }))
      await writeFile(join(repository, "migrations", name), text);
    return harness.run(
      "migrate",
      {
        release,
        source: { kind: "tree", repository, digest: "tree-0123456789ab", path: "migrations" },
        river: false,
        lint: "error",
        lockTimeoutMs: 2_000,
        lockAttempts: 1,
        statementTimeoutMs: 30_000,
        ...over,
      },
      live(),
    );
  }

  it("lets the lint go by the locks that it has measured, of the very same file, and by nothing else", async () => {
    const files = {
      "2_index.up.sql": "CREATE INDEX ON events (id) WHERE id < 40;",
      "3_long.up.sql": "LOCK TABLE events IN SHARE MODE;\nSELECT pg_sleep(1.3);",
      "4_unique.up.sql": "DROP INDEX events_once;",
    };
    const before = await migrate(files);
    expect(before.stderr).toMatch(
      /has found 4 errors; none of them was applied:\n {2}2_index\.up\.sql:1: blocking-index: .*\n {2}3_long\.up\.sql:1: lock-table.*\n {2}4_unique\.up\.sql:1: drop-index-blocking.*\n {2}9_stop\.up\.sql:1: drop-table/,
    );
    const rehearsed = await rehearse(files);
    expect(rehearsed.stderr).toMatch(
      /WARN .*4_unique\.up\.sql takes away what was unique \(events_once\): an ON CONFLICT/,
    );
    const after = await migrate(files);
    expect(after.stderr).toMatch(
      /WARN .*the lint has found\n(?:.*missing-down.*\n)* {2}2_index\.up\.sql:1: blocking-index: .*\(for \d+ ms on a copy of the data, which is let through\)/,
    );
    expect(after.stderr).toMatch(
      /has found 3 errors; none of them was applied:\n {2}3_long\.up\.sql:1: lock-table: .*\(for 1\.\d s on a copy of the data\).*\n {2}4_unique\.up\.sql:1: drop-index-blocking: .*events_once was unique.*\n {2}9_stop/,
    );
    // Another text under the same name was not measured.
    expect((await migrate({ ...files, "2_index.up.sql": "CREATE INDEX ON events (id);" })).stderr).toContain(
      "has found 4 errors",
    );

    const reason = "tried by hand";
    const waived = await migrate(files, {
      waivers: [
        { file: "3_long.up.sql", rule: "lock-table", reason },
        { file: "4_unique.up.sql", rule: "drop-index-blocking", reason },
        { file: "4_unique.up.sql", rule: "rename", reason },
      ],
    });
    expect(waived.stderr).toMatch(/has found an error; none of them was applied:\n {2}9_stop\.up\.sql:1: drop-table/);
    expect(waived.stderr).toContain(
      "3_long.up.sql:1: lock-table: table events: allowed by the stack file: tried by hand",
    );
    expect(waived.stderr).toMatch(
      /WARN .*togather:migrations\.allow names 4_unique\.up\.sql with rename, but the lint doesn't find that there: take it out/,
    );
    expect(waived.stderr).toContain(
      "togather:migrations.allow in the stack file: - { file: 9_stop.up.sql, rule: drop-table, reason: why it does no harm }",
    );
    await untouched();
  });

  it("runs nothing that a copy does not hold back, and nothing behind it", async () => {
    const settings = (): Promise<string> =>
      harness.sql("SELECT count(*) FROM pg_db_role_setting WHERE setconfig::text LIKE '%work_mem%'");
    const { exitCode, stderr, result } = await rehearse({
      "2_ok.up.sql": "CREATE TABLE ok (id int)",
      "3_beyond.up.sql":
        "SELECT 1;\nALTER DATABASE live SET work_mem = '5MB';\nALTER ROLE CURRENT_USER SET work_mem = '6MB';",
      "4_more.up.sql": "SELECT 1/0",
    });
    expect(exitCode, stderr).toBe(0);
    expect(result.files.map(({ file }) => file)).toEqual(["2_ok.up.sql"]);
    expect(stderr).toMatch(
      /WARN .*3_beyond\.up\.sql, line 2: ALTER DATABASE … SET acts beyond the database that it runs in, and a copy does not hold it back: it, and what comes after it \(4_more\.up\.sql\), are not rehearsed/,
    );
    expect(await settings()).toBe("0");
    await untouched();
  });

  it("writes nothing into another server's tables that the copy reaches as well", async () => {
    await harness.sql("CREATE DATABASE far OWNER owner");
    await harness.sql("SET ROLE owner; CREATE TABLE remote (id int)", "far");
    await harness.sql(
      `CREATE EXTENSION postgres_fdw; GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO owner; SET ROLE owner;
       CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '${harness.address(20)}', dbname 'far');
       CREATE USER MAPPING FOR owner SERVER far OPTIONS ("user" 'owner', password 'owner-password');
       CREATE FOREIGN TABLE remote (id int) SERVER far;`,
      "live",
    );
    try {
      const taken = await harness.run(
        "snapshot",
        { backupLocation: harness.backups, retention: 20, keepVerified: 2, format: "sql.gz", recipients: [], release },
        live(),
      );
      expect(taken.exitCode, taken.stderr).toBe(0);
      const { exitCode, stderr, result } = await rehearse(
        {
          "2_ok.up.sql": "CREATE TABLE remotely (id int)",
          "3_far.up.sql": "SELECT 1;\nINSERT INTO public.Remote VALUES (1);",
        },
        { file: basename(taken.result.file), sha256: taken.result.sha256 },
      );
      expect(exitCode, stderr).toBe(0);
      expect(result.files.map(({ file }) => file)).toEqual(["2_ok.up.sql"]);
      // Nobody else writes on this copy.
      expect(stderr).not.toContain("foreign tables");
      expect(stderr).toMatch(
        /WARN .*3_far\.up\.sql, line 2: the foreign table remote, .* does not hold it back: it is not rehearsed/,
      );
      expect(await harness.sql("SELECT count(*) FROM remote", "far")).toBe("0");
    } finally {
      await harness.sql("DROP EXTENSION postgres_fdw CASCADE", "live");
    }
  });

  it("warns of a lock that people would notice", async () => {
    const { stderr } = await rehearse({ "2_long.up.sql": "LOCK TABLE events IN SHARE MODE;\nSELECT pg_sleep(1.2);" });
    expect(stderr).toMatch(/WARN .*2_long\.up\.sql takes .*events is locked for 1\.\d s: writes wait \(ShareLock\)/);
  });

  it("stops at what only the data show, with file and line, and leaves the database alone", async () => {
    const { exitCode, stderr } = await rehearse({
      "2_ok.up.sql": "CREATE TABLE ok (id int)",
      "3_strict.up.sql": "SELECT 1;\nALTER TABLE events ALTER COLUMN note SET NOT NULL;",
    });
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(
      /migration 3_strict\.up\.sql.* \(file 2 of 2\) fails on a copy of the data: ERROR: column "note" of relation "events" contains null values \(SQLSTATE 23502\)\. The database itself was not touched; what serves goes on/,
    );
    expect(stderr).toContain("correct the file, commit it and release that commit");
    await untouched();
  });

  const unqualified = (language: string, body: string): string =>
    `CREATE FUNCTION label(t text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT upper(t)';
     CREATE FUNCTION shout(t text) RETURNS text IMMUTABLE LANGUAGE ${language} AS '${body}';`;
  const inSql = unqualified("sql", "SELECT label(t)");
  const inPlpgsql = unqualified("plpgsql", "BEGIN RETURN label(t); END");

  it.each([
    [
      "a generated column",
      `${inSql} ALTER TABLE events ADD loud text GENERATED ALWAYS AS (shout(name)) STORED;`,
      /the generated column loud of public\.events: function label\(text\) does not exist/,
    ],
    [
      "an index",
      `${inPlpgsql} CREATE TABLE fresh (name text); CREATE INDEX fresh_loud ON fresh (shout(name)); INSERT INTO fresh VALUES ('a');`,
      /the index public\.fresh_loud of public\.fresh: function label\(text\) does not exist/,
    ],
    [
      "a constraint",
      `${inPlpgsql} ALTER TABLE events ADD CHECK (shout(name) <> 'x') NOT VALID;`,
      /the constraint events_name_check of public\.events: function label/,
    ],
    [
      "a domain",
      `${inPlpgsql} CREATE DOMAIN loud AS text CHECK (shout(VALUE) <> 'x'); CREATE TABLE fresh (name loud); INSERT INTO fresh VALUES ('a');`,
      /the domain public\.loud of the column name of public\.fresh: function label\(text\) does not exist/,
    ],
    [
      "a partition",
      `${inPlpgsql} CREATE TABLE parts (name text) PARTITION BY LIST (shout(name)); CREATE TABLE part_a PARTITION OF parts FOR VALUES IN ('A'); INSERT INTO parts VALUES ('a');`,
      /the partition bound of public\.part_a: function label\(text\) does not exist/,
    ],
    [
      "a domain of an empty table",
      `${inSql} CREATE TABLE fresh (id int, loud text GENERATED ALWAYS AS (shout('a')) STORED);`,
      /loading failed .*function label\(.*\) does not exist|the generated column loud of public\.fresh/s,
    ],
  ])("stops a release whose own snapshots would not load: %s", async (_, sql, message) => {
    const { exitCode, stderr } = await rehearse({ "2_names.up.sql": sql });
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(
      /a snapshot of the database as it will be does not load by itself.*Nothing was touched; what serves goes on/,
    );
    expect(stderr).toMatch(
      /→ write the schema before each name.*ALTER FUNCTION … SET search_path.*migration_rehearsal when-possible makes it a warning/s,
    );
    expect(exitCode).toBe(1);
    await untouched();
    const lenient = await rehearse({ "2_names.up.sql": sql }, { required: false });
    expect(lenient.exitCode, lenient.stderr).toBe(0);
    expect(lenient.stderr).toMatch(/WARN .*does not load by itself/);
  });

  it("stops a release after which no snapshot could be taken", async () => {
    const sql = "ALTER TABLE events ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON events USING (true);";
    const enabled = await rehearse({ "2_rows.up.sql": sql });
    expect(enabled.exitCode, enabled.stderr).toBe(0);
    const { exitCode, stderr } = await rehearse({
      "2_rows.up.sql": `${sql} ALTER TABLE events FORCE ROW LEVEL SECURITY;`,
    });
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(
      /no snapshot could be taken any more: row-level security of events holds for the role owner/,
    );
    expect(stderr).toContain('ALTER ROLE "owner" BYPASSRLS;');
    await untouched();
  });

  it.each(["sql.gz", "directory"] as const)(
    "restores what an older release has made so, and lets the release pass that mends it: %s",
    async (format) => {
      const database = `broken_${format.replace(".", "_")}`;
      const broken = { ...live(), DATABASE_URL: owner(database) };
      await harness.sql(`CREATE DATABASE ${database} OWNER owner`);
      const table =
        "CREATE TABLE events (id int, name text, loud text GENERATED ALWAYS AS (shout(name)) STORED); INSERT INTO events SELECT n, 'e ' || n FROM generate_series(1, 100) n;";
      await harness.sql(
        `SET ROLE owner; ${inPlpgsql} ${table} CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO schema_migrations VALUES (1, false);`,
        database,
      );
      const take = () =>
        harness.run(
          "snapshot",
          { backupLocation: harness.backups, retention: 20, keepVerified: 2, format, recipients: [], release },
          broken,
        );
      const taken = await take();
      expect(taken.exitCode, taken.stderr).toBe(0);
      const of = { file: basename(taken.result.file), sha256: taken.result.sha256 };
      const other = await rehearse({ "2_other.up.sql": "CREATE TABLE more (id int)" }, of, broken);
      expect(other.exitCode, other.stderr).toBe(0);
      expect(other.stderr).toMatch(
        /WARN .*does not load by itself: restoring failed .*function label\(text\) does not exist.*names looked up where servers do \(public\)/s,
      );
      expect(other.result).toMatchObject({ verified: true, rows: 101 });
      expect(other.stderr).toMatch(/WARN .*a snapshot of the database as it will be does not load by itself/);
      const mending = await rehearse(
        { "2_mend.up.sql": "ALTER FUNCTION shout(text) SET search_path = public, pg_temp" },
        of,
        broken,
      );
      expect(mending.exitCode, mending.stderr).toBe(0);
      expect(mending.stderr).not.toMatch(/as it will be does not load/);
      // Row-level security in force already: what takes snapshots says what ends it.
      await harness.sql(
        "ALTER TABLE events ENABLE ROW LEVEL SECURITY; ALTER TABLE events FORCE ROW LEVEL SECURITY",
        database,
      );
      const hidden = await take();
      expect(hidden.exitCode).toBe(1);
      expect(hidden.stderr).toMatch(
        /row-level security of the table events is in force for the role owner.*→ .*ALTER ROLE "owner" BYPASSRLS/s,
      );
      await harness.sql("ALTER ROLE owner BYPASSRLS");
      expect((await take()).exitCode).toBe(0);
      await harness.sql("ALTER ROLE owner NOBYPASSRLS");
      await harness.sql(`DROP DATABASE ${database}`);
    },
  );

  it("restores nothing for a release with a file that golang-migrate would pass over", async () => {
    const record = join(harness.directory, "state", "applied-migrations.json");
    await writeFile(
      record,
      JSON.stringify({ [`${harness.address(20)}:5432/live`]: [{ version: 1, file: "1_first.up.sql" }] }),
    );
    const { exitCode, stderr } = await rehearse({ "0_late.up.sql": "CREATE TABLE late ();", "2_a.up.sql": "SELECT 1" });
    await rm(record);
    expect([exitCode, stderr]).toEqual([
      1,
      expect.stringContaining(
        "0_late.up.sql was never applied, and has a number that the schema is past: it is at version 1",
      ),
    ]);
    expect(stderr).not.toContain("restoring it");
    await untouched();
  });

  it("has nothing to do where nothing is pending, and proves the snapshot then only if told", async () => {
    const none = await rehearse({});
    expect(none.result).toMatchObject({ skipped: "no migrations are pending", verified: false, files: [] });
    const proved = await rehearse({}, { verify: true });
    expect(proved.result).toMatchObject({ skipped: null, verified: true, rows: 60_002, files: [] });
    const first = await rehearse(
      { "2_a.up.sql": "SELECT 1" },
      {},
      { ...live(), DATABASE_URL: await harness.database("empty") },
    );
    expect(first.result).toMatchObject({ skipped: "the database has no schema yet" });
  });

  it("says which right is missing, as an error or a warning", async () => {
    const own = { DATABASE_URL: owner("live") };
    const strict = await rehearse({ "2_a.up.sql": "SELECT 1" }, {}, own);
    expect([strict.exitCode, strict.stderr]).toEqual([
      1,
      expect.stringContaining("role owner may not create databases (it has no CREATEDB)"),
    ]);
    const lenient = await rehearse({ "2_a.up.sql": "SELECT 1" }, { required: false }, own);
    expect(lenient.exitCode, lenient.stderr).toBe(0);
    expect(lenient.stderr).toMatch(/WARN .*nothing was rehearsed/);
    expect(lenient.result).toMatchObject({ verified: false, skipped: expect.stringContaining("CREATEDB") as unknown });
  });

  const servingImage = (): string => `togather-server:${harness.name}-serving`;
  const serving: NonNullable<StepRequest<"rehearse">["serving"]> = {
    healthPath: "/health",
    port: 8080,
    checks: [{ path: "/events", status: 200 }],
    limitSeconds: 6,
    failure: "error",
  };

  /** A release that serves blue: it reads a column, counts the jobs it could work, and says too much when it fails. */
  async function startServing(): Promise<void> {
    const program = `
      const { execFileSync } = require("node:child_process");
      const sql = (text) => execFileSync("psql", ["-AtX", process.env.DATABASE_URL, "-c", text], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
      require("node:http").createServer((request, response) => {
        if (request.url === "/health") return response.end(JSON.stringify({ status: "healthy", version: "v1.0.0", database: "connected", migrations: "up-to-date", jobs: "operational", uptime: 1 }));
        try {
          const [database, jobs, paused] = [sql("SELECT current_database()"), sql("SELECT count(*) FROM river_job"), sql("SELECT count(*) FROM river_queue WHERE paused_at IS NOT NULL")];
          const fs = require("node:fs");
          fs.writeFileSync(process.env.HOME + "/written", "");
          const shm = fs.statfsSync("/dev/shm");
          console.log("asked in", database, "with", jobs, "jobs,", paused, "queue paused,", (shm.blocks * shm.bsize) / 1048576, "MB of shm, at home in", process.env.HOME);
          sql("SELECT name FROM events LIMIT 1");
          response.end();
        } catch (error) {
          console.error("with", process.env.DATABASE_URL, process.env.API_TOKEN, String(error.stderr).trim());
          response.writeHead(500).end();
        }
      }).listen(8080);`;
    const image = servingImage();
    await execa("docker", ["build", "--quiet", "--tag", image, "-"], {
      input: `FROM ${bundledImageTag("ops")}\nENTRYPOINT ["node", "-e", ${JSON.stringify(program)}]\n`,
    });
    const named = `--label=org.togather.name=${harness.name}`;
    const labelled = [
      named,
      "--label=org.togather.part=blue",
      `--label=${labels.version}=${old.version}`,
      `--label=${labels.commit}=${old.commit}`,
      `--label=${labels.port}=8080`,
    ];
    await docker(
      "run",
      "--detach",
      `--name=togather-${harness.name}-blue`,
      `--network=${harness.network}`,
      ...labelled,
      "--env",
      `DATABASE_URL=${app("live")}`,
      "--env",
      "API_TOKEN=token-canary-0815-0815",
      "--read-only",
      "--tmpfs=/home/app:rw,mode=1777,size=8m",
      "--env",
      "HOME=/home/app",
      "--shm-size=96m",
      image,
    );
    await docker(
      "create",
      `--name=togather-${harness.name}-router`,
      named,
      "--label=org.togather.part=router",
      `--volume=togather-${harness.name}-router-files:/router`,
      "--entrypoint=true",
      bundledImageTag("nginx"),
    );
    const state = join(harness.directory, "slot.json");
    await writeFile(state, JSON.stringify({ slot: "blue", changedAt: new Date().toISOString() }));
    await docker("cp", state, `togather-${harness.name}-router:/router/state/slot.json`);
  }
  const rehearsalContainers = (): Promise<string> =>
    docker("ps", "--all", "--quiet", `--filter=name=^togather-${harness.name}-rehearsal$`);

  it("asks nobody where nothing serves yet", async () => {
    const { stderr, result } = await rehearse({ "2_a.up.sql": "SELECT 1" }, { serving });
    expect(stderr).toContain("nothing serves yet that the migrations could break");
    expect(result.serving).toBeNull();
  });

  it("lets a migration pass with which the release that serves goes on to work", async () => {
    await harness.image("nginx");
    await startServing();
    const { exitCode, stderr, result } = await rehearse(
      { "2_add.up.sql": "ALTER TABLE events ADD COLUMN title text" },
      { serving },
    );
    expect(exitCode, stderr).toBe(0);
    expect(result.serving).toBe("v1.0.0: /health, /events");
    expect(stderr).toContain("v1.0.0, which serves, works on the migrated copy: /health, /events");
    expect(await rehearsalContainers()).toBe("");
    await untouched();
  });

  it("stops one with which it does not, with its last words but not its secrets; its jobs were not there to be worked", async () => {
    const { exitCode, stderr } = await rehearse(
      { "2_rename.up.sql": "ALTER TABLE events RENAME COLUMN name TO title" },
      { serving },
    );
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(
      /v1\.0\.0, which serves, does not work after 2_rename\.up\.sql: \/events answers 500, expected 200\. It was asked on a migrated copy of the data; the database itself was not touched, and what serves goes on\. Its last lines:/,
    );
    expect(stderr).toContain('column "name" does not exist');
    expect(stderr).toMatch(
      /asked in togather_scratch_\S+ with 0 jobs, 1 queue paused, 96 MB of shm, at home in \/home\/app/,
    );
    expect(stderr).toMatch(/add first, and remove in a later release/);
    for (const secret of ["app-canary-4711", "token-canary-0815-0815"])
      expect(stderr + (await harness.written())).not.toContain(secret);
    expect(await rehearsalContainers()).toBe("");
    await untouched();

    const lenient = await rehearse(
      { "2_rename.up.sql": "ALTER TABLE events RENAME COLUMN name TO title" },
      { serving: { ...serving, limitSeconds: 1, failure: "warn" } },
    );
    expect(lenient.exitCode, lenient.stderr).toBe(0);
    expect(lenient.stderr).toMatch(/WARN .*v1\.0\.0, which serves, does not work after 2_rename/);
    expect(lenient.result.serving).toMatch(/^v1\.0\.0: FAILED, \/events answers 500/);
  });

  it("runs tasks on the migrated copy, with the server's environment, which it does not tell; one that fails there stops it", async () => {
    const canary = "task-canary-4xQ9vLm2";
    const environment = {
      ...live(),
      SERVER_ENVIRONMENT: JSON.stringify({ DATABASE_URL: app("live"), API_TOKEN: canary }),
      SERVER_SECRETS: JSON.stringify([app("live"), canary]),
    };
    const tasks = (script: string) => ({
      list: [{ name: "fill", command: ["sh", "-c", script], timeoutMs: 60_000 }],
      image: bundledImageTag("ops"),
      networks: [harness.network],
      tmpfs: {},
      shmSize: 0,
      extraHosts: [],
    });
    const migration = { "2_add.up.sql": "ALTER TABLE events ADD COLUMN title text" };
    const fill =
      'psql -AtX "$DATABASE_URL" -c "UPDATE events SET title = name WHERE id < 4 RETURNING current_database(), title" -c "SELECT count(*) || \' jobs\' FROM river_job"; echo "rehearsal $TOGATHER_REHEARSAL, $API_TOKEN"';
    const done = await rehearse(migration, { tasks: tasks(fill) }, environment);
    expect(done.exitCode, done.stderr).toBe(0);
    expect(done.stderr).toMatch(/task fill: togather_scratch_\S+\|e 1/);
    expect(done.stderr).toContain("task fill: 0 jobs");
    expect(done.stderr).toContain("task fill: rehearsal true, ***REDACTED***");
    expect(done.stderr).toMatch(/rehearsal: the task fill takes [\d.]+ m?s on a copy of the data/);
    await untouched();

    const failed = await rehearse(migration, { tasks: tasks('echo "with $DATABASE_URL"; exit 4') }, environment);
    expect(failed.exitCode).toBe(1);
    expect(failed.stderr).toMatch(
      /the task fill ended with exit code 4, after .*, on a copy of the data; the database itself was not touched, and what serves goes on\. Its last lines:\n {2}with \S*REDACTED/,
    );
    for (const secret of [canary, "app-canary-4711"])
      expect(done.stderr + failed.stderr + (await harness.written())).not.toContain(secret);
    expect(await docker("ps", "--all", "--quiet", `--filter=name=^togather-${harness.name}-rehearsed-task$`)).toBe("");
    await untouched();
  });

  it("leaves nothing behind when its client is killed, at the latest after the next run", async () => {
    const repository = join(harness.directory, "tree-0");
    await writeFile(
      join(repository, "migrations", "9_rename.up.sql"),
      "ALTER TABLE events RENAME COLUMN name TO title",
    );
    const source = { kind: "tree", repository, digest: "tree-0123456789ab", path: "migrations" } as const;
    const run = harness.start(
      "rehearse",
      {
        backupLocation: harness.backups,
        ...snapshot,
        release,
        source,
        river: false,
        lockTimeoutMs: 2_000,
        statementTimeoutMs: 30_000,
        verify: false,
        required: true,
        serving: { ...serving, limitSeconds: 60 },
      },
      live(),
    );
    for (let i = 0; (await rehearsalContainers()) === ""; i++) {
      if (i > 300) throw new Error("the serving release was not started");
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    run.kill("SIGKILL");
    await run;
    const { exitCode, stderr } = await rehearse(
      { "2_add.up.sql": "ALTER TABLE events ADD COLUMN title text" },
      { serving },
    );
    expect(exitCode, stderr).toBe(0);
    expect(await rehearsalContainers()).toBe("");
    await untouched();
  });
});

// One deployment lives through its life in order: each test starts from what the one before left.
describe("a deployment whose migration breaks the release that serves", () => {
  let stack: TestStack;
  beforeAll(async () => {
    stack = await TestStack.create();
    const v1 = await stack.commit("v1.0.0");
    stack.set({
      slots: { blue: v1 },
      activeSlot: "blue",
      deployment: stack.deployment({
        deployment: { post_switch_checks: [{ path: "/health" }, { path: "/api/v1/events" }] },
        database: { serving_release_check: "error" },
      }),
    });
    const up = await stack.run("up");
    expect(up.ok, up.output).toBe(true);
  });
  afterAll(async () => {
    await stack.remove();
  });

  const migration = (text: string): void => {
    stack.addMigration("000005_change", `-- togather:allow rename the test wants it\n${text}`, "SELECT 1;");
  };
  const health = async (): Promise<unknown> =>
    ((await (await fetch(stack.url("/health"))).json()) as { version: string }).version;

  it("stops before the database is touched; the old release serves", async () => {
    migration("ALTER TABLE events RENAME COLUMN description TO text;");
    const broken = await stack.commit("v2.0.0");
    const { code, stdout, stderr } = await stack.togather("release", broken.commit, "--version", "v2.0.0");
    expect(code, `${stdout}\n${stderr}`).toBe(exitCodes.migration.code);
    expect(stdout + stderr).toMatch(
      /v1\.0\.0, which serves, does not work after 000005_change\.up\.sql: \/api\/v1\/events answers 5\d\d, expected 200/,
    );
    expect(await stack.query("SELECT version, dirty FROM schema_migrations")).toBe("4|f");
    expect(await stack.query("SELECT count(*) FROM pg_database WHERE datname LIKE 'togather_scratch%'")).toBe("0");
    expect([...(await stack.containers()).keys()].sort()).toEqual(
      ["blue", "db", "router"].map((part) => `togather-${stack.name}-${part}`),
    );
    expect(await health()).toBe("v1.0.0");
  });

  it("and the next release passes, with a report of what its migration takes", async () => {
    migration("ALTER TABLE events ADD COLUMN subtitle text;");
    const good = await stack.commit("v2.0.1");
    const { code, stdout, stderr } = await stack.togather("release", good.commit, "--version", "v2.0.1");
    expect(code, `${stdout}\n${stderr}`).toBe(0);
    expect(stdout).toMatch(
      /^rehearse green +ok .*1 run on a copy; \d+ rows restored; v1\.0\.0: \/health, \/api\/v1\/events/m,
    );
    expect(await health()).toBe("v2.0.1");
    expect(await stack.query("SELECT version, dirty FROM schema_migrations")).toBe("5|f");
  });
});
