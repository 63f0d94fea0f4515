/** Snapshots, their proof and restores on servers of PostgreSQL other than the bundled one, as external databases have them. */
import { mkdir } from "node:fs/promises";
import { basename } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundledImageTag } from "../../ops/image.ts";
import { docker, eventually, Harness } from "../step-harness.ts";
import { serverPrograms } from "./postgres-programs.ts";

const harness = new Harness();
const release = { version: "v1.0.0", commit: "1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d" };

beforeAll(async () => {
  await harness.setUp();
  await mkdir(harness.backups);
});
afterAll(() => harness.tearDown());

class Server {
  readonly container: string;
  readonly address: string;
  /** @param copy so that one version can run twice. */
  constructor(major: number, copy = 0) {
    this.container = `togather-${harness.name}-pg${major}-${copy}`;
    this.address = harness.address(major + 20 + 10 * copy);
  }

  url(database: string, user = "postgres", parameters = ""): string {
    return `postgresql://${user}:secret@${this.address}:5432/${database}?sslmode=disable${parameters}`;
  }

  /** By the bundled database's psql, which has nothing to do with what is tested. */
  async sql(statement: string, database = "postgres"): Promise<string> {
    return docker(
      "exec",
      harness.postgres,
      "psql",
      this.url(database),
      "-v",
      "ON_ERROR_STOP=1",
      "-At",
      "-c",
      statement,
    );
  }

  async start(version: string): Promise<void> {
    const programs = await serverPrograms(version);
    const script = `set -e; cp -r /pg /tmp/pg; export LD_LIBRARY_PATH=/tmp/pg/lib; echo secret > /tmp/password
      /tmp/pg/bin/initdb --pgdata=/tmp/data --username=postgres --pwfile=/tmp/password --auth=md5 --encoding=UTF8 --locale=C.UTF-8 > /dev/null
      echo "host all all all md5" >> /tmp/data/pg_hba.conf
      exec /tmp/pg/bin/postgres -D /tmp/data -c listen_addresses='*' -c unix_socket_directories=/tmp -c fsync=off`;
    await docker(
      "run",
      "--detach",
      `--name=${this.container}`,
      `--network=${harness.network}`,
      `--ip=${this.address}`,
      "--user=nobody",
      "--tmpfs=/tmp:exec,mode=1777",
      `--volume=${programs}:/pg:ro`,
      "--entrypoint=sh",
      bundledImageTag("ops"),
      "-c",
      script,
    );
    await eventually(`PostgreSQL ${version}`, () => this.sql("SELECT 1")).catch(async (cause: unknown) => {
      throw new Error(await docker("logs", this.container).catch(String), { cause });
    });
  }
}

describe.each([
  { major: 14, version: "14.23.0-beta.17" },
  { major: 15, version: "15.18.0-beta.17" },
  { major: 16, version: "16.14.0-beta.17" },
])("PostgreSQL $major", ({ major, version }) => {
  let server: Server;
  beforeAll(async () => {
    server = new Server(major);
    await server.start(version);
    await server.sql("CREATE ROLE owner LOGIN PASSWORD 'secret' CREATEDB; GRANT pg_signal_backend TO owner");
  }, 180_000);

  it.each(["sql.zst", "directory"] as const)(
    "takes a snapshot in the format %s, proves it, and restores it",
    async (format) => {
      const database = `db_${format.replace(".", "_")}`;
      await server.sql(`CREATE DATABASE ${database} OWNER owner`);
      // A row that looks like a setting; it has to come back.
      await server.sql(
        `SET ROLE owner; CREATE SCHEMA app; CREATE TABLE app.events (id int PRIMARY KEY, name text); INSERT INTO app.events SELECT n, 'e ' || n FROM generate_series(1, 5000) n;
       CREATE TABLE app.lines (line text); INSERT INTO app.lines VALUES ('SET transaction_timeout = 0;');
       CREATE TABLE app.schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO app.schema_migrations VALUES (7, false);
       RESET ROLE; ALTER DATABASE ${database} SET search_path TO app, public`,
        database,
      );
      const owner = { DATABASE_URL: server.url(database, "owner") };
      const admin = { ...owner, DATABASE_ADMIN_URL: server.url("postgres") };
      const request = {
        backupLocation: harness.backups,
        retention: 20,
        keepVerified: 2,
        format,
        recipients: [],
        release,
      };
      const taken = await harness.run("snapshot", request, owner);
      expect(taken.exitCode, taken.stderr).toBe(0);
      expect(taken.result.migrationVersion).toBe(7);
      const choice = { backupLocation: harness.backups, file: basename(taken.result.file), foreign: false } as const;
      for (const environment of [owner, admin]) {
        const proved = await harness.run(
          "verify",
          { ...choice, sha256: taken.result.sha256, required: true },
          environment,
        );
        expect(proved.exitCode, proved.stderr).toBe(0);
        expect(proved.result).toMatchObject({ verified: true, rows: 5002, tables: 3 });
      }
      await server.sql(
        "TRUNCATE app.events; TRUNCATE app.lines; UPDATE app.schema_migrations SET version = 8",
        database,
      );
      for (const environment of [owner, admin]) {
        const restored = await harness.run("restore", { ...choice, mode: "restore" }, environment);
        expect(restored.exitCode, restored.stderr).toBe(0);
        expect(restored.result.schema).toEqual({ now: environment === owner ? 8 : 7, snapshot: 7 });
        expect(
          await server.sql(
            "SELECT count(*), sum(id), (SELECT line FROM lines), (SELECT version FROM schema_migrations) FROM events",
            database,
          ),
        ).toBe("5000|12502500|SET transaction_timeout = 0;|7");
      }
      // A database that is gone tells nobody any more where its tables were looked for.
      await server.sql(`DROP DATABASE ${database} WITH (FORCE)`);
      const remade = await harness.run("restore", { ...choice, mode: "restore" }, admin);
      expect(remade.exitCode, remade.stderr).toBe(0);
      expect(await server.sql("SELECT count(*) FROM app.events", database)).toBe("5000");
    },
  );
});

/** What `owner` owns and what the server's role may do there, in the database that a foreign one was put into. */
const rightsOf = `SELECT string_agg(format('%s:%s:%s', c.relname, pg_get_userbyid(c.relowner), has_table_privilege('foreign_app', c.oid, 'INSERT')), ' ' ORDER BY c.relname)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind IN ('r', 'v', 'm')
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')`;

describe("another server's database", () => {
  let server: Server;
  /** The last snapshot that was taken. */
  let whole = "";
  const live = { DATABASE_URL: "", DATABASE_ADMIN_URL: "" };
  const take = {
    retention: 20,
    keepVerified: 2,
    recipients: [],
    release: { version: "the-old-node", commit: "the-old-node" },
    withoutOwners: true,
  } as const;
  beforeAll(async () => {
    server = new Server(16, 1);
    await server.start("16.14.0-beta.17");
    // As components/database.ts declares it.
    await harness.sql("CREATE ROLE foreign_owner LOGIN PASSWORD 'secret'");
    await harness.sql("CREATE ROLE foreign_app LOGIN PASSWORD 'secret'");
    await harness.sql("CREATE DATABASE taken_over OWNER foreign_owner");
    await harness.sql("CREATE EXTENSION postgis; CREATE EXTENSION vector", "taken_over");
    await harness.sql(
      "ALTER DEFAULT PRIVILEGES FOR ROLE foreign_owner IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO foreign_app; ALTER DEFAULT PRIVILEGES FOR ROLE foreign_owner IN SCHEMA public GRANT USAGE, SELECT, UPDATE ON SEQUENCES TO foreign_app",
      "taken_over",
    );
    live.DATABASE_URL = harness.url("taken_over", { name: "foreign_owner", password: "secret" });
    live.DATABASE_ADMIN_URL = harness.url();
  }, 180_000);

  it.each(["sql.gz", "directory"] as const)(
    "of PostgreSQL 16, with a superuser as its owner, becomes the owner's here, in the format %s",
    async (format) => {
      const database = `node_${format.replace(".", "_")}`;
      await server.sql(
        `CREATE ROLE ${database}_boss LOGIN SUPERUSER PASSWORD 'secret'; CREATE ROLE ${database}_reader`,
      );
      await server.sql(`CREATE DATABASE ${database} OWNER ${database}_boss`);
      await server.sql(
        `SET ROLE ${database}_boss; CREATE TABLE events (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text); INSERT INTO events (name) SELECT 'e ' || n FROM generate_series(1, 3000) n;
       CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO schema_migrations VALUES (49, false);
       CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM events; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';
       GRANT SELECT ON events TO ${database}_reader; RESET ROLE; CREATE TABLE others (id int)`,
        database,
      );
      const taken = await harness.run(
        "snapshot",
        { backupLocation: harness.backups, format, ...take },
        { DATABASE_URL: server.url(database, `${database}_boss`) },
      );
      expect(taken.exitCode, taken.stderr).toBe(0);
      const choice = { backupLocation: harness.backups, file: basename(taken.result.file), foreign: false } as const;
      const proved = await harness.run("verify", { ...choice, sha256: taken.result.sha256, required: true }, live);
      expect(proved.exitCode, proved.stderr).toBe(0);
      expect(proved.result).toMatchObject({ verified: true, rows: 3001, tables: 3 });
      const restored = await harness.run("restore", { ...choice, mode: "restore" }, live);
      expect(restored.exitCode, restored.stderr).toBe(0);
      const found = await harness.sql(rightsOf, "taken_over");
      expect(found).toBe(
        "counts:foreign_owner:t events:foreign_owner:t others:foreign_owner:t schema_migrations:foreign_owner:t",
      );
      // As the server's role, which has no more than its rights.
      const app = (sql: string): Promise<string> =>
        docker(
          "exec",
          harness.postgres,
          "psql",
          harness.url("taken_over", { name: "foreign_app", password: "secret" }),
          "-v",
          "ON_ERROR_STOP=1",
          "-At",
          "-c",
          sql,
        );
      expect(await app("INSERT INTO events (name) VALUES ('one more') RETURNING id")).toContain("3001");
      await expect(app("CREATE TABLE mine (id int)")).rejects.toThrow(/permission denied for schema public/);
      expect(await harness.sql("SELECT string_agg(rolname, ' ') FROM pg_roles WHERE rolname LIKE 'node_%'")).toBe("");
      // What the database had before is still there: it did not come from the old server.
      expect(
        await harness.sql("SELECT string_agg(extname, ' ' ORDER BY extname) FROM pg_extension", "taken_over"),
      ).toBe("plpgsql postgis vector");
    },
  );

  it("with PostGIS's schemas, and rows in the tables of extensions, is whole", async () => {
    await harness.sql("CREATE ROLE node_boss LOGIN SUPERUSER PASSWORD 'secret'");
    await harness.sql("CREATE DATABASE node OWNER node_boss");
    await harness.sql(
      `CREATE EXTENSION postgis; CREATE EXTENSION postgis_topology; CREATE EXTENSION fuzzystrmatch; CREATE EXTENSION postgis_tiger_geocoder; CREATE EXTENSION pg_stat_statements;
       INSERT INTO spatial_ref_sys (srid, auth_name) VALUES (990001, 'own'); SELECT topology.CreateTopology('streets', 4326);
       CREATE TABLE places (id int, at geometry(Point, 4326)); INSERT INTO places VALUES (1, ST_SetSRID(ST_MakePoint(1, 2), 4326)); CREATE INDEX ON places USING gist (at)`,
      "node",
    );
    const taken = await harness.run(
      "snapshot",
      { backupLocation: harness.backups, format: "sql.zst", ...take },
      { DATABASE_URL: harness.url("node", { name: "node_boss", password: "secret" }) },
    );
    expect(taken.exitCode, taken.stderr).toBe(0);
    whole = basename(taken.result.file);
    const restored = await harness.run(
      "restore",
      { backupLocation: harness.backups, file: whole, foreign: false, mode: "restore" },
      live,
    );
    expect(restored.exitCode, restored.stderr).toBe(0);
    expect(
      await harness.sql(
        "SELECT (SELECT count(*) FROM spatial_ref_sys WHERE srid = 990001), (SELECT name FROM topology.topology), (SELECT count(*) FROM places WHERE ST_X(at) = 1)",
        "taken_over",
      ),
    ).toBe("1|streets|1");
    expect(await harness.sql("SELECT DISTINCT pg_get_userbyid(extowner) FROM pg_extension", "taken_over")).toBe(
      "postgres",
    );
    expect(await harness.sql(rightsOf, "taken_over")).toBe("places:foreign_owner:t");
  });

  it("is refused where the database that it would take the place of is not there", async () => {
    const { exitCode, stderr } = await harness.run(
      "restore",
      { backupLocation: harness.backups, file: whole, foreign: false, mode: "restore" },
      { DATABASE_URL: harness.url("nowhere"), DATABASE_ADMIN_URL: harness.url() },
    );
    expect(exitCode).toBe(1);
    expect(stderr).toContain("there is no database nowhere whose owner and rights it could get");
    expect(stderr).toContain("togather up makes it");
  });
});

describe("PostgreSQL 18", () => {
  it("is refused before anything changes, since the snapshots' client is older", async () => {
    const server = new Server(18);
    await server.start("18.4.0-beta.17");
    const environment = { DATABASE_URL: server.url("postgres"), MIGRATION_DATABASE_URL: server.url("postgres") };
    const { exitCode, stderr } = await harness.run(
      "database",
      { release, extensions: [], superuser: "warn" },
      environment,
    );
    expect(exitCode).toBe(1);
    expect(stderr).toContain(
      "it is PostgreSQL 18.4, and the pg_dump of this project (17) can't make snapshots of a newer one",
    );
  });
});
