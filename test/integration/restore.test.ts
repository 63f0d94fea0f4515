/** Verification and restore of snapshots against a real PostgreSQL, run as Pulumi and `togather` run them. */
import { copyFile, mkdir, readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { docker, eventually, Harness } from "../step-harness.ts";
import { formatDatabaseUrl } from "../../ops/contract/connection.ts";
import type { Manifest } from "../../ops/contract/manifest.ts";

const harness = new Harness();
const release = { version: "v2.0.0", commit: "9f8e7d6c5b4a39281706f5e4d3c2b1a098765432" };
const owner = (database: string): string => harness.url(database, { name: "owner", password: "owner-password" });
const live = { DATABASE_URL: owner("live"), DATABASE_ADMIN_URL: harness.url() };

/** The live database as a deployment has it: an owner that migrates, an app role with rights by default, extensions. */
beforeAll(async () => {
  await harness.setUp();
  await mkdir(harness.backups);
  Object.assign(live, { DATABASE_URL: owner("live"), DATABASE_ADMIN_URL: harness.url() });
  await harness.sql("CREATE ROLE owner LOGIN PASSWORD 'owner-password'");
  await harness.sql("CREATE ROLE app LOGIN PASSWORD 'app-password'");
  await harness.sql("CREATE DATABASE live OWNER owner");
  await harness.sql(
    "ALTER DATABASE live SET search_path TO public, extra; ALTER DATABASE live SET \"app.greeting\" TO 'it''s'; REVOKE TEMPORARY ON DATABASE live FROM PUBLIC; GRANT CREATE ON DATABASE live TO app",
  );
  await harness.sql("CREATE EXTENSION postgis; CREATE EXTENSION vector; CREATE EXTENSION pg_trgm", "live");
  await harness.sql(
    `SET ROLE owner;
     ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO app;
     CREATE TABLE events (id int PRIMARY KEY, name text, place geography(point, 4326), embedding vector(3));
     CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO schema_migrations VALUES (7, false);
     INSERT INTO events SELECT n, 'COMMENT ON EXTENSION x IS ''' || n || ''';', 'POINT(1 2)', '[1,2,3]' FROM generate_series(1, 3000) n;`,
    "live",
  );
}, 300_000);
afterAll(() => harness.tearDown());

async function snapshot(): Promise<string> {
  const { exitCode, stderr, result } = await harness.run(
    "snapshot",
    { backupLocation: harness.backups, retention: 20, keepVerified: 2, format: "sql.gz", recipients: [], release },
    live,
  );
  expect(exitCode, stderr).toBe(0);
  return basename(result.file);
}
const choice = (file: string) => ({ backupLocation: harness.backups, file, foreign: false }) as const;
const manifestOf = async (file: string): Promise<Manifest> =>
  JSON.parse(await readFile(join(harness.backups, file.replace(/\.sql\.gz$/, ".json")), "utf8")) as Manifest;
const databases = async (): Promise<string[]> =>
  (
    await harness.sql("SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' ORDER BY 1")
  ).split("\n");
const count = (database = "live"): Promise<string> => harness.sql("SELECT count(*) FROM events", database);

describe("verify", () => {
  let file: string;
  beforeAll(async () => {
    file = await snapshot();
  });

  it("restores into a scratch database, compares, drops it, and notes it in the manifest", async () => {
    const manifest = await manifestOf(file);
    expect(manifest).toMatchObject({
      tables: { "public.events": 3000, "public.schema_migrations": 1 },
      migration_version: 7,
      extensions: { pg_trgm: "1.6" },
    });
    const { exitCode, stderr, result } = await harness.run(
      "verify",
      { ...choice(file), sha256: manifest.sha256, required: true },
      live,
    );
    expect(stderr).toContain("3001 rows in 2 tables, schema version 7, as its manifest says");
    expect(exitCode).toBe(0);
    expect(result).toMatchObject({ verified: true, rows: 3001, tables: 2 });
    expect((await manifestOf(file)).verified_at).toMatch(/^\d{4}-/);
    expect(await databases()).toEqual(["live"]);
  });

  it("finds what is not in it", async () => {
    const manifest = await manifestOf(file);
    await writeFile(
      join(harness.backups, file.replace(/\.sql\.gz$/, ".json")),
      JSON.stringify({
        ...manifest,
        migration_version: 8,
        tables: { ...manifest.tables, "public.events": 3001, "public.gone": 2 },
      }),
    );
    const { exitCode, stderr } = await harness.run("verify", { ...choice(file), sha256: null, required: false }, live);
    await writeFile(join(harness.backups, file.replace(/\.sql\.gz$/, ".json")), JSON.stringify(manifest));
    expect(stderr).toContain(
      "table public.events has 3000 rows, expected 3001; table public.gone is missing (2 rows); schema version is 7, expected 8",
    );
    expect(exitCode).toBe(1);
    expect(await databases()).toEqual(["live"]);
  });

  it("says which right is missing, as an error or a warning", async () => {
    const own = { DATABASE_URL: live.DATABASE_URL };
    const strict = await harness.run("verify", { ...choice(file), sha256: null, required: true }, own);
    expect(strict.stderr).toContain("role owner may not create databases (it has no CREATEDB)");
    expect(strict.stderr).toContain('ALTER ROLE "owner" CREATEDB');
    expect(strict.exitCode).toBe(1);
    const lenient = await harness.run("verify", { ...choice(file), sha256: null, required: false }, own);
    expect(lenient.exitCode).toBe(0);
    expect(lenient.result).toMatchObject({ verified: false, reason: expect.stringContaining("CREATEDB") as unknown });

    await harness.sql("ALTER ROLE owner CREATEDB");
    const extension = await harness.run("verify", { ...choice(file), sha256: null, required: true }, own);
    await harness.sql("ALTER ROLE owner NOCREATEDB");
    expect(extension.stderr).toMatch(/role owner may not create the extension (postgis|vector)/);
    expect(await databases()).toEqual(["live"]);
  });

  it("leaves subscriptions out, and drops the copy of a database that has one", async () => {
    await harness.sql("CREATE DATABASE subscribed OWNER owner");
    await harness.sql(
      "CREATE TABLE notes (t text); CREATE SUBSCRIPTION feed CONNECTION 'host=127.0.0.1 dbname=elsewhere' PUBLICATION p WITH (connect = false, slot_name = 'feed')",
      "subscribed",
    );
    const own = { DATABASE_URL: harness.url("subscribed"), DATABASE_ADMIN_URL: harness.url() };
    try {
      const taken = await harness.run(
        "snapshot",
        { backupLocation: harness.backups, retention: 20, keepVerified: 2, format: "sql.gz", recipients: [], release },
        own,
      );
      expect(taken.stderr).toMatch(/WARN .*the subscription feed \(logical replication\) is in no snapshot/);
      // As a run of an older version may leave one.
      const left = `togather_scratch_${harness.name}_0123abcd`;
      await harness.sql(`CREATE DATABASE "${left}"`);
      await harness.sql(
        "CREATE SUBSCRIPTION feed CONNECTION 'host=127.0.0.1 dbname=elsewhere' PUBLICATION p WITH (connect = false, slot_name = 'feed')",
        left,
      );
      const { exitCode, stderr } = await harness.run(
        "verify",
        { ...choice(basename(taken.result.file)), sha256: taken.result.sha256, required: true },
        own,
      );
      expect(exitCode, stderr).toBe(0);
      expect(stderr).toMatch(/_0123abcd was left by a run that was killed, dropped/);
      expect(await databases()).toEqual(["live", "subscribed"]);
    } finally {
      await harness.sql("ALTER SUBSCRIPTION feed SET (slot_name = NONE)", "subscribed");
      await harness.sql("DROP SUBSCRIPTION feed", "subscribed");
      await harness.sql("DROP DATABASE subscribed");
    }
  });

  it("works as the owner where the extensions are allowed to it", async () => {
    await harness.sql("CREATE DATABASE plain OWNER owner; ");
    await harness.sql(
      "CREATE EXTENSION pg_trgm; SET ROLE owner; CREATE TABLE notes (t text); INSERT INTO notes VALUES ('x'); CREATE TABLE none (t text)",
      "plain",
    );
    await harness.sql("ALTER ROLE owner CREATEDB");
    const own = { DATABASE_URL: owner("plain") };
    const taken = await harness.run(
      "snapshot",
      { backupLocation: harness.backups, retention: 20, keepVerified: 2, format: "sql.gz", recipients: [], release },
      own,
    );
    // Another role's, as of a run with DATABASE_ADMIN_URL, is said to be in the way, and is not.
    const others = `togather_scratch_${harness.name}_89abcdef`;
    await harness.sql(`CREATE DATABASE "${others}"`);
    const first = await harness.run(
      "verify",
      { ...choice(basename(taken.result.file)), sha256: taken.result.sha256, required: true },
      own,
    );
    expect(first.exitCode, first.stderr).toBe(0);
    expect(first.stderr).toMatch(
      /WARN .*_89abcdef was left by a run that was killed, and can't be dropped: must be owner/,
    );
    expect(first.stderr).not.toContain("killed, dropped");
    await harness.sql(`DROP DATABASE "${others}"`);
    const { exitCode, stderr } = await harness.run(
      "verify",
      { ...choice(basename(taken.result.file)), sha256: taken.result.sha256, required: true },
      own,
    );
    expect(exitCode, stderr).toBe(0);
    await harness.sql("ALTER ROLE owner NOCREATEDB");
    await harness.sql("DROP DATABASE plain");
  });

  it("drops the scratch database when it is killed, at the latest at the next run", async () => {
    await harness.sql(
      "CREATE TABLE slow (t text); INSERT INTO slow SELECT repeat(md5(n::text), 20) FROM generate_series(1, 200000) n; ALTER TABLE slow OWNER TO owner",
      "live",
    );
    const big = await snapshot();
    const scratch = (): Promise<true> =>
      eventually("a scratch database", async () =>
        (await databases()).some((name) => name.startsWith(`togather_scratch_${harness.name}_`)),
      );
    // As on another host, with a deployment of the same name on the same database server.
    const elsewhere = harness.start("verify", { ...choice(big), sha256: null, required: true }, live);
    await scratch();
    const apart = { stateLocation: join(harness.directory, "another-host") };
    const beside = await harness.run("verify", { ...choice(file), sha256: null, required: true, ...apart }, live);
    expect(beside.exitCode, beside.stderr).toBe(0);
    const undisturbed = await elsewhere;
    expect(undisturbed.exitCode, undisturbed.stderr).toBe(0);
    const verifying = harness.start("verify", { ...choice(big), sha256: null, required: true }, live);
    await scratch();
    await docker("kill", await harness.stepContainer("verify"));
    expect((await verifying).exitCode).not.toBe(0);
    expect((await databases()).length).toBe(2);
    const { exitCode, stderr } = await harness.run("verify", { ...choice(file), sha256: null, required: true }, live);
    expect(exitCode, stderr).toBe(0);
    expect(stderr).toContain("was left by a run that was killed, dropped");
    expect(await databases()).toEqual(["live"]);
    await harness.sql("DROP TABLE slow", "live");
  });
});

describe("restore", () => {
  let file: string;
  beforeAll(async () => {
    file = await snapshot();
  });

  /** A copy of the snapshot with its manifest, to be spoiled. */
  async function spoiled(
    stamp: string,
    spoil: (path: string) => Promise<void>,
    change: Partial<Manifest> = {},
  ): Promise<string> {
    const copy = `togather_${harness.name}_${stamp}.sql.gz`;
    await copyFile(join(harness.backups, file), join(harness.backups, copy));
    await writeFile(
      join(harness.backups, copy.replace(/\.sql\.gz$/, ".json")),
      JSON.stringify({ ...(await manifestOf(file)), file: copy, ...change }),
    );
    await spoil(join(harness.backups, copy));
    return copy;
  }
  const nothing = (): Promise<void> => Promise.resolve();

  it.each([
    [
      "a flipped bit",
      "20200101_000000",
      async (path: string) => {
        const bytes = await readFile(path);
        bytes[5000] = (bytes[5000] ?? 0) ^ 1;
        await writeFile(path, bytes);
      },
      {},
      /is corrupt: its SHA-256 is/,
    ],
    [
      "a cut file",
      "20200102_000000",
      (path: string) => truncate(path, 4000),
      {},
      /is truncated: it has 4000 bytes, expected \d+/,
    ],
    ["an empty file", "20200103_000000", (path: string) => truncate(path, 0), {}, /is truncated: it has 0 bytes/],
    [
      "another deployment's",
      "20200104_000000",
      nothing,
      { deployment: "production" },
      /is of production \(staging\), expected .* --foreign/s,
    ],
    [
      "another environment's",
      "20200105_000000",
      nothing,
      { environment: "production" },
      /expected t-ops-.* \(staging\)/,
    ],
    [
      "another one's manifest",
      "20200106_000000",
      nothing,
      { file: "togather_x_20200106_000000.sql.gz" },
      /has the manifest of togather_x/,
    ],
  ] as const)("refuses %s before anything is touched", async (_what, stamp, spoil, change, message) => {
    const before = await harness.sql("SELECT oid FROM pg_database WHERE datname = 'live'");
    const { exitCode, stderr } = await harness.run(
      "restore",
      { ...choice(await spoiled(stamp, spoil, change)), mode: "restore" },
      live,
    );
    expect(stderr).toMatch(message);
    expect(exitCode).toBe(1);
    expect(await databases()).toEqual(["live"]);
    expect(await harness.sql("SELECT oid FROM pg_database WHERE datname = 'live'")).toBe(before);
  });

  it("refuses what is not there, and what has no manifest", async () => {
    expect(
      (
        await harness.run(
          "restore",
          { ...choice(`togather_${harness.name}_20300101_000000.sql.gz`), mode: "check" },
          live,
        )
      ).stderr,
    ).toContain("is not in ");
    expect(
      (await harness.run("restore", { ...choice("../state/current.json"), mode: "check" }, live)).stderr,
    ).toContain("has no name of a snapshot");
    const copy = `togather_${harness.name}_20200107_000000.sql.gz`;
    await copyFile(join(harness.backups, file), join(harness.backups, copy));
    expect((await harness.run("restore", { ...choice(copy), mode: "check" }, live)).stderr).toMatch(
      /has no manifest that can be read.*gunzip -c/s,
    );
  });

  it("says what would be lost, row by row", async () => {
    await harness.sql(
      "INSERT INTO events SELECT n, 'new' FROM generate_series(3001, 3040) n; UPDATE events SET name = 'changed' WHERE id <= 5; DELETE FROM events WHERE id BETWEEN 11 AND 13; CREATE TABLE later (id int); INSERT INTO later VALUES (1); UPDATE schema_migrations SET version = 9; ALTER TABLE later OWNER TO owner",
      "live",
    );
    const { exitCode, stderr, result } = await harness.run("restore", { ...choice(file), mode: "check" }, live);
    expect(exitCode, stderr).toBe(0);
    expect(result.schema).toEqual({ now: 9, snapshot: 7 });
    expect(result.lost).toEqual([
      { table: "public.events", snapshot: 3000, now: 3037, written: 45 },
      { table: "public.later", snapshot: null, now: 1, written: 1 },
      { table: "public.schema_migrations", snapshot: 1, now: 1, written: 1 },
    ]);
  });

  it("counts what transactions write that were open then, and what others hide that are open now", async () => {
    const writers = await Promise.all(
      ["plain", "savepoint", "late"].map(async () => {
        const client = new pg.Client({ connectionString: owner("live") });
        await client.connect();
        return client;
      }),
    );
    const [plain, savepoint, late] = writers as [pg.Client, pg.Client, pg.Client];
    const change = (client: pg.Client, id: number) =>
      client.query("UPDATE events SET name = 'changed' WHERE id = $1", [id]);
    try {
      await plain.query("BEGIN");
      await change(plain, 21);
      await savepoint.query("BEGIN");
      await change(savepoint, 22);
      // A transaction within, which has a number of its own.
      await savepoint.query("SAVEPOINT inner_one");
      await change(savepoint, 23);
      await savepoint.query("RELEASE inner_one");
      // Ended in between: its rows are in the snapshot, though their number is above that of an open one.
      await change(late, 24);
      const taken = await snapshot();
      expect((await manifestOf(taken)).visibility?.seen).toHaveLength(1);
      const lost = async () => (await harness.run("restore", { ...choice(taken), mode: "check" }, live)).result;
      expect(await lost()).toMatchObject({ counted: "exact", lost: [] });
      await plain.query("COMMIT");
      await savepoint.query("COMMIT");
      expect((await lost()).lost).toEqual([{ table: "public.events", snapshot: 3037, now: 3037, written: 3 }]);
      // Each open transaction that writes used to hide one of the earliest.
      await plain.query("BEGIN");
      await change(plain, 25);
      await savepoint.query("BEGIN");
      await change(savepoint, 26);
      await change(late, 27);
      expect((await lost()).lost).toEqual([{ table: "public.events", snapshot: 3037, now: 3037, written: 4 }]);
      // The manifest of an older version has less, and the result says so.
      const { visibility, ...older } = await manifestOf(taken);
      expect(visibility).toBeDefined();
      await writeFile(join(harness.backups, taken.replace(/\.sql\.gz$/, ".json")), JSON.stringify(older));
      expect(await lost()).toMatchObject({ counted: "without-open", lost: [{ table: "public.events", written: 1 }] });
    } finally {
      await Promise.all(writers.map((client) => client.end()));
    }
  });

  it("can be killed in the middle, and run again", async () => {
    const restoring = harness.start("restore", { ...choice(file), mode: "restore" }, live);
    await eventually("a scratch database", async () => (await databases()).length === 2);
    await docker("kill", await harness.stepContainer("restore"));
    await restoring;
    expect(await count()).toBe("3037");
  });

  it("takes the live database's place while clients write, with all that belongs to it", async () => {
    // Later than the snapshot: on a table that the extension's superuser has.
    await harness.sql("GRANT SELECT, INSERT ON spatial_ref_sys TO owner", "live");
    const rights = `SELECT d.datacl::text, pg_get_userbyid(datdba), (SELECT array_agg(s.setconfig) FROM pg_db_role_setting s WHERE setdatabase = d.oid)::text FROM pg_database d WHERE datname = 'live'`;
    const before = await harness.sql(rights);
    const pool = new pg.Pool({
      connectionString: harness.url("live").replace(/\/\/postgres:[^@]*@/, "//app:app-password@"),
      max: 4,
    });
    pool.on("error", () => undefined);
    const writes = { done: 0, failed: [] as string[], stop: false };
    const writer = (async () => {
      for (let id = 100_000; !writes.stop; id += 1) {
        try {
          await pool.query("INSERT INTO events VALUES ($1, 'w')", [id]);
          writes.done += 1;
        } catch (error) {
          writes.failed.push(String((error as { code?: string }).code ?? error));
        }
        await sleep(2);
      }
    })();
    const { exitCode, stderr, result } = await harness.run("restore", { ...choice(file), mode: "restore" }, live);
    await sleep(500);
    const doneAfter = writes.done;
    await sleep(300);
    writes.stop = true;
    await writer;
    await pool.end();
    expect(exitCode, stderr).toBe(0);
    // They go on by themselves, and lost no more than what was under way.
    expect(writes.done).toBeGreaterThan(doneAfter);
    expect(writes.failed.length, writes.failed.join(" ")).toBeLessThan(6);
    expect(result.replaced).toMatch(/^live_before_\d{8}_\d{6}$/);
    expect(await databases()).toEqual(["live", result.replaced]);
    expect(await harness.sql("SELECT count(*) FROM events WHERE id < 100000", "live")).toBe("3000");
    expect(await harness.sql("SELECT count(*) FROM events WHERE id < 100000", result.replaced ?? "")).toBe("3037");
    expect(result.lost.find(({ table }) => table === "public.events")?.now).toBeGreaterThan(3037);
    expect(await harness.sql("SELECT version FROM schema_migrations", "live")).toBe("7");
    // Rights, settings and owners are those of before.
    expect((await harness.sql(rights)).split("|").map((part) => part.replace(/[{}]/g, "").split(",").sort())).toEqual(
      before.split("|").map((part) => part.replace(/[{}]/g, "").split(",").sort()),
    );
    expect(
      await harness.sql(
        "SELECT has_table_privilege('app', 'events', 'INSERT'), (SELECT tableowner FROM pg_tables WHERE tablename = 'events')",
        "live",
      ),
    ).toBe("t|owner");
    expect(
      await harness.sql(
        "SELECT has_table_privilege('owner', 'spatial_ref_sys', 'INSERT'), has_table_privilege('owner', 'spatial_ref_sys', 'UPDATE'), has_table_privilege('app', 'spatial_ref_sys', 'SELECT')",
        "live",
      ),
    ).toBe("t|f|t");
    await harness.sql("SET ROLE owner; CREATE TABLE fresh (id int)", "live");
    expect(await harness.sql("SELECT has_table_privilege('app', 'fresh', 'DELETE')", "live")).toBe("t");
  });

  it("keeps what was replaced until it is told to drop it, and drops nothing else", async () => {
    const { result } = await harness.run("discard", { database: null }, live);
    expect(result.kept).toEqual([
      { database: expect.stringMatching(/^live_before_/) as unknown, bytes: expect.any(Number) as unknown },
    ]);
    const refused = await harness.run("discard", { database: "live" }, live);
    expect(refused.stderr).toContain("live is not a database that a restore has replaced");
    expect(refused.exitCode).toBe(1);
    const name = result.kept[0]?.database ?? "";
    // One digit of its time is another: nothing of that name was ever dropped.
    const mistyped = name.replace(/.$/, (digit) => String((Number(digit) + 1) % 10));
    const unknown = await harness.run("discard", { database: mistyped }, live);
    expect([unknown.exitCode, unknown.stderr]).toEqual([1, expect.stringContaining(`there are: ${name}`)]);
    expect((await harness.run("discard", { database: name }, live)).result.dropped).toBe(name);
    expect(await databases()).toEqual(["live"]);
    // As after a kill between the drop and the answer.
    const again = await harness.run("discard", { database: name }, live);
    expect([again.exitCode, again.result.dropped]).toEqual([0, null]);
    expect((await harness.run("discard", { database: mistyped }, live)).exitCode).toBe(1);
  });

  it("brings back a database that is gone, and a role", async () => {
    const like = `SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datlocprovider, (SELECT string_agg(entry, ';') FROM pg_db_role_setting s, unnest(s.setconfig) entry WHERE setdatabase = d.oid AND entry NOT LIKE 'app.%'), has_database_privilege('public', oid, 'TEMPORARY'), datconnlimit FROM pg_database d WHERE datname = 'live'`;
    await harness.sql(
      "ALTER DATABASE live CONNECTION LIMIT 77; CREATE ROLE readers; GRANT readers TO app; GRANT app TO owner",
    );
    const full = await snapshot();
    const before = await harness.sql(like);
    expect((await manifestOf(full)).attributes).toMatchObject({
      owner: "owner",
      connectionLimit: 77,
      rights: expect.arrayContaining([{ grantee: "app", privilege: "CREATE", grantable: false }]) as unknown,
    });
    // An application's own settings may be secrets.
    expect(JSON.stringify(await manifestOf(full))).not.toContain("it's");
    await harness.sql("DROP DATABASE live WITH (FORCE)");
    await harness.sql("DROP ROLE app");
    const { exitCode, stderr, result } = await harness.run("restore", { ...choice(full), mode: "restore" }, live);
    expect(exitCode, stderr).toBe(0);
    expect(stderr).toContain("the server had no role app any more");
    expect(
      await harness.sql("SELECT pg_has_role('app', 'readers', 'MEMBER'), pg_has_role('owner', 'app', 'MEMBER')"),
    ).toBe("t|t");
    expect(result.replaced).toBeNull();
    expect(Number(await count())).toBe((await manifestOf(full)).tables["public.events"]);
    expect(await harness.sql("SELECT has_table_privilege('app', 'events', 'INSERT')", "live")).toBe("t");
    expect(await harness.sql(like)).toBe(before);
    // An older version has written down nothing of that: the owner is known all the same.
    const { attributes, ...older } = await manifestOf(full);
    expect(attributes).toBeDefined();
    await writeFile(join(harness.backups, full.replace(/\.sql\.gz$/, ".json")), JSON.stringify(older));
    await harness.sql("DROP DATABASE live WITH (FORCE)");
    const again = await harness.run("restore", { ...choice(full), mode: "restore" }, live);
    expect(again.exitCode, again.stderr).toBe(0);
    expect(again.stderr).toMatch(/WARN .*who else may connect, and the settings of the database, are in no snapshot/);
    expect(await harness.sql("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'live'")).toBe("owner");
    await harness.sql("SET ROLE owner; CREATE TABLE next_migration (id int)", "live");
  });

  it("knows databases and roles by any name, and what kind of database one is", async () => {
    const [database, odd, reader] = [`Zur "Öff'n%t" 1`, `Ow n"er@x`, `Le'ser $1`];
    const id = pg.escapeIdentifier;
    await docker("exec", harness.postgres, "install", "-d", "-o", "postgres", "/tmp/faster");
    await harness.sql("CREATE TABLESPACE faster LOCATION '/tmp/faster'");
    await harness.sql(`CREATE ROLE ${id(odd)} LOGIN PASSWORD 'p /@:?#[]%25ü'; CREATE ROLE ${id(reader)}`);
    await harness.sql(
      `CREATE DATABASE ${id(database)} OWNER ${id(odd)} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de-AT' ICU_RULES '&a < g' LC_COLLATE 'C' LC_CTYPE 'C' TABLESPACE faster`,
    );
    await harness.sql(
      `GRANT CONNECT ON DATABASE ${id(database)} TO ${id(reader)}; ALTER ROLE ${id(odd)} IN DATABASE ${id(database)} SET search_path TO "Odd, one", public; COMMENT ON DATABASE ${id(database)} IS '$1 it''s'`,
    );
    const environment = {
      DATABASE_URL: formatDatabaseUrl({
        ...{ host: harness.address(20), port: 5432, user: odd, password: "p /@:?#[]%25ü", database },
        parameters: { sslmode: "disable" },
      }),
      DATABASE_ADMIN_URL: harness.url(),
    };
    await harness.sql(
      `SET ROLE ${id(odd)}; CREATE SCHEMA "Odd, one"; CREATE SEQUENCE "Odd, one".big START 4611686018427387904; SELECT nextval('"Odd, one".big');
       CREATE TABLE "Odd, one".schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO "Odd, one".schema_migrations VALUES (1, false);
       CREATE FUNCTION "Odd, one"."is ok"(text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT length($1) > 1';
       CREATE DOMAIN "Odd, one".word AS text CHECK ("Odd, one"."is ok"(VALUE));
       CREATE TABLE "Odd, one"."T%I 'x'" (id bigint DEFAULT nextval('"Odd, one".big'), w "Odd, one".word); INSERT INTO "Odd, one"."T%I 'x'" (w) VALUES ('azz'), ('gaa');
       CREATE UNLOGGED TABLE "Odd, one".fast (id int); INSERT INTO "Odd, one".fast VALUES (1);
       ALTER TABLE "Odd, one"."T%I 'x'" ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON "Odd, one"."T%I 'x'" TO ${id(reader)} USING (w > 'a'); GRANT SELECT ON "Odd, one"."T%I 'x'" TO ${id(reader)};
       CREATE MATERIALIZED VIEW "Odd, one".seen AS SELECT w FROM "Odd, one"."T%I 'x'" WHERE "Odd, one"."is ok"(w);`,
      database,
    );
    const like = (): Promise<string> =>
      harness.sql(
        `SELECT pg_get_userbyid(datdba), datlocprovider, datlocale, daticurules, spcname, (SELECT string_agg(a::text, ',' ORDER BY a::text COLLATE "C") FROM unnest(datacl) a), shobj_description(d.oid, 'pg_database'), (SELECT array_agg(setconfig) FROM pg_db_role_setting WHERE setdatabase = d.oid)
           FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace WHERE datname = ${pg.escapeLiteral(database)}`,
      );
    const rows = (): Promise<string> =>
      harness.sql(
        `SELECT string_agg(w, ',' ORDER BY w), max(id) FROM "Odd, one"."T%I 'x'"; SELECT count(*) FROM "Odd, one".seen; SELECT count(*) FROM "Odd, one".fast; SELECT nextval('"Odd, one".big') > 4611686018427387900`,
        database,
      );
    const [kind, contents] = [await like(), await rows()];
    // By ICU's rules, g comes right behind a.
    expect(contents).toMatch(/^azz,gaa\|/);

    const taken = await harness.run(
      "snapshot",
      { backupLocation: harness.backups, retention: 20, keepVerified: 2, format: "sql.gz", recipients: [], release },
      environment,
    );
    expect(taken.exitCode, taken.stderr).toBe(0);
    const file = basename(taken.result.file);
    const proved = await harness.run(
      "verify",
      { ...choice(file), sha256: taken.result.sha256, required: true },
      environment,
    );
    expect(proved.exitCode, proved.stderr).toBe(0);
    const rehearsed = join(harness.directory, "odd");
    await mkdir(join(rehearsed, "m"), { recursive: true });
    await writeFile(join(rehearsed, "m", "1_a.up.sql"), "SELECT 1;");
    await writeFile(join(rehearsed, "m", "2_b.up.sql"), "CREATE TABLE b (w word);");
    const source = { kind: "tree", repository: rehearsed, digest: "tree-0123456789ab", path: "m" } as const;
    const limits = { river: false, lockTimeoutMs: 2_000, statementTimeoutMs: 30_000 };
    const tried = await harness.run(
      "rehearse",
      {
        ...{ backupLocation: harness.backups, file, sha256: taken.result.sha256, release, source, ...limits },
        verify: false,
        required: true,
        serving: null,
      },
      environment,
    );
    expect(tried.exitCode, tried.stderr).toBe(0);
    const migrated = await harness.run(
      "migrate",
      { release, source, lint: "error", lockAttempts: 1, ...limits },
      environment,
    );
    expect(migrated.exitCode, migrated.stderr).toBe(0);
    expect(await harness.sql(`SELECT to_regclass('"Odd, one".b') IS NOT NULL`, database)).toBe("t");

    for (const gone of [false, true]) {
      if (gone) await harness.sql(`DROP DATABASE ${id(database)} WITH (FORCE)`);
      const restored = await harness.run("restore", { ...choice(file), mode: "restore" }, environment);
      expect(restored.exitCode, restored.stderr).toBe(0);
      expect(await like()).toBe(kind);
      expect((await rows()).split("\n").slice(0, 2)).toEqual(contents.split("\n").slice(0, 2));
      if (restored.result.replaced !== null) {
        const discarded = await harness.run("discard", { database: restored.result.replaced }, environment);
        expect(discarded.exitCode, discarded.stderr).toBe(0);
      }
    }
    await harness.sql(`DROP DATABASE ${id(database)} WITH (FORCE)`);
    await harness.sql("DROP TABLESPACE faster");
  });

  it("tells of jobs that would be done again, and puts them on hold", async () => {
    await harness.sql("CREATE DATABASE queued OWNER owner");
    const job = (state: string, finalized = "NULL"): string => `('${state}', now() - interval '1 hour', ${finalized})`;
    await harness.sql(
      `SET ROLE owner; CREATE TYPE river_job_state AS ENUM ('available', 'cancelled', 'completed', 'discarded', 'pending', 'retryable', 'running', 'scheduled');
       CREATE TABLE river_job (id bigserial PRIMARY KEY, state river_job_state NOT NULL, created_at timestamptz NOT NULL, finalized_at timestamptz);
       INSERT INTO river_job (state, created_at, finalized_at) VALUES ${["available", "scheduled", "retryable", "running"].map((state) => job(state)).join(", ")}, ${job("completed", "now() - interval '30 minutes'")}`,
      "queued",
    );
    // The usual setting: another role, the same database.
    const own = { DATABASE_URL: owner("queued"), DATABASE_ADMIN_URL: harness.url("queued") };
    const taken = await harness.run(
      "snapshot",
      { backupLocation: harness.backups, retention: 20, keepVerified: 2, format: "sql.gz", recipients: [], release },
      own,
    );
    await harness.sql(
      "UPDATE river_job SET state = 'completed', finalized_at = now() + interval '1 second' WHERE state IN ('available', 'running')",
      "queued",
    );
    const of = choice(basename(taken.result.file));
    const check = await harness.run("restore", { ...of, mode: "check" }, own);
    expect(check.result.jobs, check.stderr).toEqual({ queued: 4, doneSince: 2, held: 0 });
    const { result, stderr } = await harness.run("restore", { ...of, mode: "restore", holdJobs: true }, own);
    expect(result.jobs, stderr).toEqual({ queued: 4, doneSince: 2, held: 4 });
    expect(await harness.sql("SELECT state, count(*) FROM river_job GROUP BY 1 ORDER BY 1", "queued")).toBe(
      "completed|1\npending|4",
    );
    await harness.sql("DROP DATABASE queued");
    await harness.sql(`DROP DATABASE ${result.replaced ?? ""}`);
  });

  it("leaves a database to its owner without a superuser, and says what it may not set", async () => {
    await harness.sql("CREATE ROLE steward LOGIN CREATEDB PASSWORD 'owner-password'");
    await harness.sql(
      "GRANT owner TO steward; GRANT pg_signal_backend TO steward; GRANT CONNECT ON DATABASE postgres TO steward",
    );
    await harness.sql("CREATE DATABASE managed OWNER owner");
    await harness.sql(
      "ALTER ROLE app IN DATABASE managed SET work_mem = '5MB'; ALTER DATABASE managed SET statement_timeout = '5min'",
    );
    await harness.sql("SET ROLE owner; CREATE TABLE notes (t text); INSERT INTO notes VALUES ('x')", "managed");
    const own = {
      DATABASE_URL: owner("managed"),
      DATABASE_ADMIN_URL: harness.url("postgres", { name: "steward", password: "owner-password" }),
    };
    const taken = await harness.run(
      "snapshot",
      { backupLocation: harness.backups, retention: 20, keepVerified: 2, format: "sql.gz", recipients: [], release },
      own,
    );
    const { exitCode, stderr, result } = await harness.run(
      "restore",
      { ...choice(basename(taken.result.file)), mode: "restore" },
      own,
    );
    expect(exitCode, stderr).toBe(0);
    expect(stderr).toMatch(
      /WARN .*role steward may not give the copy of managed all that managed has \(1 of its settings and rights\)/,
    );
    expect(stderr).toMatch(
      /→ as a superuser of the database: ALTER ROLE "app" IN DATABASE "managed" SET "work_mem" TO '5MB';/,
    );
    expect(
      await harness.sql(
        "SELECT pg_get_userbyid(datdba), (SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = d.oid) FROM pg_database d WHERE datname = 'managed'",
      ),
    ).toBe("owner|{statement_timeout=5min}");
    await harness.sql("SET ROLE owner; CREATE TABLE next_migration (id int)", "managed");
    // A role that it may not make is named before anything is done.
    await harness.sql("CREATE ROLE fleeting; GRANT SELECT ON notes TO fleeting", "managed");
    const granted = await harness.run(
      "snapshot",
      { backupLocation: harness.backups, retention: 20, keepVerified: 2, format: "sql.gz", recipients: [], release },
      own,
    );
    await harness.sql("DROP OWNED BY fleeting; DROP ROLE fleeting", "managed");
    const roleless = { ...choice(basename(granted.result.file)), mode: "restore" } as const;
    const refused = await harness.run("restore", roleless, own);
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toMatch(
      /the server has no role fleeting, which the snapshot gives rights to, and role steward may not make it. Nothing was changed\n.*CREATE ROLE "fleeting";/,
    );
    const unproved = await harness.run(
      "verify",
      { ...choice(basename(granted.result.file)), sha256: granted.result.sha256, required: true },
      own,
    );
    expect(unproved.stderr).toMatch(/gives rights to the role fleeting, which the server has no more\n.*CREATE ROLE/);
    expect(unproved.stderr).not.toContain("Loading it once more");
    await harness.sql("DROP DATABASE managed");
    await harness.sql(`DROP DATABASE ${result.replaced ?? ""}`);
    await harness.sql("DROP OWNED BY steward");
    await harness.sql("DROP ROLE steward");
  });

  it("has secrets nowhere", async () => {
    expect(await harness.written()).not.toMatch(/c4n4ry|owner-password/);
    expect((await readdir(harness.backups)).filter((name) => name.endsWith(".partial"))).toEqual([]);
  });
});

describe("a full disk", () => {
  const volume = `togather-${harness.name}-small`;
  it("ends the dump, leaves nothing behind and keeps what was there", async () => {
    await docker(
      "volume",
      "create",
      "--driver=local",
      "--opt=type=tmpfs",
      "--opt=device=tmpfs",
      "--opt=o=size=66m",
      volume,
    );
    // The volume is mounted for as long as a container uses it.
    const image = await harness.image("ops");
    const holder = `togather-${harness.name}-holder`;
    await docker(
      "run",
      "--detach",
      `--name=${holder}`,
      `--volume=${volume}:/small`,
      "--entrypoint=sleep",
      image,
      "600",
    );
    try {
      const small = await docker("volume", "inspect", "--format={{.Mountpoint}}", volume);
      await harness.sql("CREATE DATABASE noise");
      // Random bytes: as hexadecimal digits they take more than the disk has, however well they are packed.
      await harness.sql(
        "CREATE TABLE noise AS SELECT decode(string_agg(md5(random()::text || n || m), ''), 'hex') AS b FROM generate_series(1, 300) n, generate_series(1, 16000) m GROUP BY n",
        "noise",
      );
      const request = {
        backupLocation: small,
        retention: 7,
        keepVerified: 2,
        format: "sql.gz" as const,
        recipients: [],
        release,
      };
      const { exitCode, stderr } = await harness.run("snapshot", request, { DATABASE_URL: harness.url("noise") });
      expect(stderr).toMatch(/ENOSPC|no space left/i);
      expect(exitCode).toBe(1);
      expect(await docker("exec", holder, "ls", "-A", "/small")).toBe("");
      expect((await harness.run("snapshot", request, live)).exitCode).toBe(0);
    } finally {
      await docker("rm", "--force", holder);
      await docker("volume", "rm", volume);
      await harness.sql("DROP DATABASE IF EXISTS noise");
    }
  });
});
