/** Snapshots, their proof and restores on servers of PostgreSQL other than the bundled one, as external databases have them. */
import { mkdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundledImageTag } from "../../ops/image.ts";
import type { StepName } from "../../ops/contract/steps.ts";
import { docker, eventually, Harness, type Environment, type Outcome } from "../step-harness.ts";
import { serverPrograms } from "./postgres-programs.ts";
import {
  extensionFiles,
  ownersSchema,
  Photographer,
  rolesOf,
  othersSettings,
  ownersSettings,
  superusersSettings,
  superusersSchema,
  type Roles,
} from "./whole-schema.ts";

const harness = new Harness();
const photographer = new Photographer(harness.name);
const formats = ["sql.zst", "directory", "sql.gz"] as const;
const release = { version: "v1.0.0", commit: "1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d" };

beforeAll(async () => {
  await harness.setUp();
  await mkdir(harness.backups);
  await photographer.start(harness.network);
});
afterAll(() => harness.tearDown());

class Server {
  container: string;
  address: string;
  private superuser = { name: "postgres", password: "secret" };
  /** @param copy so that one version can run twice. */
  constructor(major: number, copy = 0) {
    this.container = `togather-${harness.name}-pg${major}-${copy}`;
    this.address = harness.address(major + 20 + 10 * copy);
  }

  url(database: string, user = "postgres", parameters = ""): string {
    const password = user === this.superuser.name ? this.superuser.password : "secret";
    return `postgresql://${user}:${encodeURIComponent(password)}@${this.address}:5432/${database}?sslmode=disable${parameters}`;
  }

  /** By the bundled database's psql, which has nothing to do with what is tested. */
  async sql(statement: string, database = "postgres", user?: string): Promise<string> {
    return docker(
      "exec",
      harness.postgres,
      "psql",
      this.url(database, user),
      "-v",
      "ON_ERROR_STOP=1",
      "-At",
      "-c",
      statement,
    );
  }

  /** The bundled one, in the harness. */
  async bundled(): Promise<void> {
    this.container = harness.postgres;
    this.address = harness.address(20);
    this.superuser.password = harness.password;
    for (const [file, text] of Object.entries(extensionFiles)) {
      const target = `/usr/share/postgresql/17/extension/${file}`;
      await docker("exec", "--user=root", this.container, "sh", "-c", `cat > ${target} <<'FILE'\n${text}\nFILE`);
    }
  }

  async stop(): Promise<void> {
    if (this.container !== harness.postgres) await docker("rm", "--force", "--volumes", this.container);
  }

  async start(version: string): Promise<void> {
    const programs = await serverPrograms(version);
    const extensions = Object.entries(extensionFiles).map(
      ([file, text]) => `cat > /tmp/pg/share/postgresql/extension/${file} <<'FILE'\n${text}\nFILE\n`,
    );
    const script = `set -e; cp -r /pg /tmp/pg; ${extensions.join("")} export LD_LIBRARY_PATH=/tmp/pg/lib; echo secret > /tmp/password
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

/** Relations between a database's owner and its administrator. */
const kinds = ["a superuser", "an administrator as managed servers have it", "one role for all"] as const;

describe.each([
  { major: 14, version: "14.23.0-beta.17" },
  { major: 15, version: "15.18.0-beta.17" },
  { major: 16, version: "16.14.0-beta.17" },
  { major: 17, version: null },
  { major: 18, version: "18.4.0-beta.17" },
])("PostgreSQL $major", ({ major, version }) => {
  let server: Server;
  beforeAll(async () => {
    server = new Server(major);
    if (version === null) await server.bundled();
    else await server.start(version);
  }, 180_000);
  afterAll(() => server.stop());

  /** Its roles and the whole of it, for one kind. */
  async function make(kind: (typeof kinds)[number]): Promise<{ roles: Roles; environment: Environment }> {
    const prefix = { [kinds[0]]: "su", [kinds[1]]: "managed", [kinds[2]]: "solo" }[kind];
    const roles = rolesOf(prefix);
    const { owner, app, reader } = roles;
    const environment: Environment = { DATABASE_URL: server.url(prefix, owner) };
    const others = `CREATE ROLE ${app} LOGIN PASSWORD 'secret'; CREATE ROLE ${reader} NOLOGIN; GRANT ${reader} TO ${app}`;
    const database = `CREATE DATABASE ${prefix} OWNER ${owner} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'`;
    switch (kind) {
      case "a superuser":
        environment["DATABASE_ADMIN_URL"] = server.url("postgres");
        await server.sql(`CREATE ROLE ${owner} LOGIN PASSWORD 'secret'; ${others}`);
        await server.sql(database);
        break;
      case "an administrator as managed servers have it": {
        const master = `${prefix}_master`;
        environment["DATABASE_ADMIN_URL"] = server.url("postgres", master);
        await server.sql(
          `CREATE ROLE ${master} LOGIN PASSWORD 'secret' CREATEDB CREATEROLE; GRANT pg_signal_backend TO ${master}`,
        );
        await server.sql(`CREATE ROLE ${owner} LOGIN PASSWORD 'secret'; ${others}`, "postgres", master);
        await server.sql(`GRANT ${owner} TO ${master}`, "postgres", master);
        await server.sql(database, "postgres", master);
        break;
      }
      case "one role for all":
        await server.sql(`CREATE ROLE ${owner} LOGIN PASSWORD 'secret' CREATEDB; ${others}`);
        await server.sql(database, "postgres", owner);
    }
    await server.sql(`GRANT ${reader} TO ${owner} WITH ADMIN OPTION`);
    await server.sql(ownersSchema(roles, major), prefix, owner);
    const master = kind === kinds[0] ? "postgres" : kind === kinds[1] ? `${prefix}_master` : owner;
    await server.sql(ownersSettings(roles), "postgres", master);
    if (master !== owner) await server.sql(othersSettings(roles), "postgres", master);
    if (kind === kinds[0]) await server.sql(`${superusersSettings(roles)}; ${superusersSchema(roles, major)}`, prefix);
    return { roles, environment };
  }

  it.each(kinds.map((kind, index) => ({ kind, format: formats[(index + major) % formats.length] ?? "sql.zst" })))(
    "is the same after a snapshot, its proof, a rehearsal, a migration, a restore and the way back, by $kind, in the format $format",
    async ({ kind, format }) => {
      const { roles, environment } = await make(kind);
      const { prefix } = roles;
      const picture = (): Promise<string> => photographer.picture(server.url(prefix), roles);
      const before = await picture();
      const succeed = async <S extends StepName>(outcome: Promise<Outcome<S>>): Promise<Outcome<S>> => {
        const { exitCode, stderr } = await outcome;
        expect(exitCode, stderr).toBe(0);
        const warnings = stderr.split("\n").filter((line) => line.includes("WARN"));
        expect(warnings.filter((line) => !/ the user mapping of \w+_reader on far /.test(line))).toEqual([]);
        return outcome;
      };
      const take = { backupLocation: harness.backups, retention: 20, keepVerified: 2, recipients: [], release };
      const taken = await succeed(harness.run("snapshot", { ...take, format }, environment));
      expect(taken.result.migrationVersion).toBe(7);
      const choice = { backupLocation: harness.backups, file: basename(taken.result.file), foreign: false } as const;
      // A rehearsal is a proof as well.
      const proof = { ...choice, sha256: taken.result.sha256, required: true };
      if (kind === kinds[0]) await succeed(harness.run("verify", proof, environment));

      const repository = join(harness.directory, `${prefix}-${major}`);
      await mkdir(join(repository, "migrations"), { recursive: true });
      await writeFile(join(repository, "migrations", "7_first.up.sql"), "SELECT 1;");
      await writeFile(
        join(repository, "migrations", "8_change.up.sql"),
        "CREATE SCHEMA later; CREATE TABLE later.things (id int); ALTER TABLE app.events ADD COLUMN later text; DELETE FROM app.secret; GRANT DELETE ON app.events TO PUBLIC;",
      );
      const source = { kind: "tree", repository, digest: "tree-0123456789ab", path: "migrations" } as const;
      const limits = { release, source, river: false, lockTimeoutMs: 2_000, statementTimeoutMs: 30_000 };
      const own = { backupLocation: choice.backupLocation, file: choice.file };
      const rehearsed = await succeed(
        harness.run(
          "rehearse",
          { ...own, sha256: taken.result.sha256, ...limits, verify: false, required: true, serving: null },
          environment,
        ),
      );
      expect(rehearsed.result.files.map(({ file }) => file)).toEqual(["8_change.up.sql"]);
      expect(await picture()).toBe(before);
      const migrated = await harness.run("migrate", { ...limits, lint: "off", lockAttempts: 1 }, environment);
      expect(migrated.exitCode, migrated.stderr).toBe(0);
      const after = await picture();
      expect(after).not.toBe(before);

      const restored = await succeed(harness.run("restore", { ...choice, mode: "restore" }, environment));
      expect(restored.result.schema).toEqual({ now: 8, snapshot: 7 });
      expect(await picture()).toBe(before);
      expect(await server.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'togather_scratch%'")).toBe("0");

      // And what it was is still there, as it was.
      const replaced = restored.result.replaced ?? "";
      await server.sql(`ALTER DATABASE ${prefix} RENAME TO ${prefix}_copy`);
      await server.sql(`ALTER DATABASE "${replaced}" RENAME TO ${prefix}`);
      expect(await picture()).toBe(after);

      if (kind !== kinds[0]) return;
      // Nobody knows the attributes of a database that is gone.
      await server.sql(`DROP DATABASE ${prefix} WITH (FORCE)`);
      await server.sql(`DROP DATABASE ${prefix}_copy WITH (FORCE)`);
      const remade = await harness.run("restore", { ...choice, mode: "restore" }, environment);
      expect(remade.exitCode, remade.stderr).toBe(0);
      // The values of its application's own settings are in no snapshot.
      expect(await picture()).toBe(before.replace(/^ALTER DATABASE .* SET "app\.flag" .*\n/m, ""));
    },
  );
});

/** The owner's objects and the server role's rights on them, in the database that received another server's data. */
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
    // The same as in components/database.ts.
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
      // As the server's role, which has only its own rights.
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
      // The database's own extensions are still there: they did not come from the old server.
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

describe("a server as managed ones are", () => {
  /** The bundled PostgreSQL with pg_cron, and PgBouncer before it. */
  const container = `togather-${harness.name}-managed`;
  const address = harness.address.bind(harness);
  const url = (port: number, database = "managed", user = "boss", parameters = ""): string =>
    `postgresql://${user}:secret@${address(60)}:${port}/${database}?sslmode=disable${parameters}`;
  const sql = (statement: string, database = "managed"): Promise<string> =>
    docker(
      "exec",
      container,
      "psql",
      "-U",
      "postgres",
      "-d",
      database,
      "-v",
      "ON_ERROR_STOP=1",
      "-At",
      "-c",
      statement,
    );
  const pooler = (mode: string, more = ""): string =>
    `[databases]\n* = host=127.0.0.1 port=5432\n[pgbouncer]\nlisten_addr = *\nlisten_port = 6432\nauth_type = plain\nauth_file = /tmp/users\npidfile = /tmp/pooler.pid\npool_mode = ${mode}\n${more}\n`;

  beforeAll(async () => {
    const image = `togather-${harness.name}-managed`;
    await execa("docker", ["build", `--tag=${image}`, "-"], {
      input: `FROM ${await harness.image("postgres")}\nRUN apt-get update && apt-get install -y --no-install-recommends postgresql-17-cron pgbouncer\n`,
    });
    await docker(
      ...["run", "--detach", `--name=${container}`, `--network=${harness.network}`, `--ip=${address(60)}`],
      ...["--tmpfs=/var/lib/postgresql/data", "--env=POSTGRES_PASSWORD=secret", image],
      ...["-c", "fsync=off", "-c", "shared_preload_libraries=pg_cron", "-c", "cron.database_name=managed"],
    );
    await eventually("PostgreSQL", () => sql("SELECT 1", "postgres"));
    await sql(
      "CREATE ROLE boss LOGIN CREATEDB PASSWORD 'secret'; ALTER ROLE boss SET statement_timeout = '7s'",
      "postgres",
    );
    await sql("CREATE DATABASE managed OWNER boss", "postgres");
    await sql("SET ROLE boss; CREATE TABLE notes (t text); INSERT INTO notes VALUES ('x')");
    await docker("exec", container, "sh", "-c", `echo '"boss" "secret"' > /tmp/users`);
  }, 300_000);
  afterAll(async () => {
    await docker("rm", "--force", "--volumes", container);
    await execa("docker", ["image", "rm", `togather-${harness.name}-managed`], { reject: false });
  });

  /** PgBouncer with these settings, for as long as it is used. */
  async function pooled<T>(settings: string, use: () => Promise<T>): Promise<T> {
    await docker("exec", container, "sh", "-c", `cat > /tmp/pooler.ini <<'FILE'\n${settings}\nFILE`);
    await docker("exec", "--detach", "--user=postgres", container, "pgbouncer", "/tmp/pooler.ini");
    await eventually("PgBouncer", () =>
      docker("exec", container, "psql", url(6432).replace(address(60), "127.0.0.1"), "-Atc", "SELECT 1"),
    );
    try {
      return await use();
    } finally {
      await docker(
        "exec",
        "--user=postgres",
        container,
        "sh",
        "-c",
        "p=$(cat /tmp/pooler.pid); kill $p; while kill -0 $p 2> /dev/null; do sleep 0.1; done",
      );
    }
  }
  const look = (of: string, server = of): Promise<Outcome<"database">> =>
    harness.run(
      "database",
      { release, extensions: [], superuser: "warn" },
      { DATABASE_URL: server, MIGRATION_DATABASE_URL: of },
    );

  it.each([
    ["by the transaction, as it comes", pooler("transaction"), "unsupported startup parameter"],
    [
      "by the transaction, which passes over what a connection begins with",
      pooler("transaction", "ignore_startup_parameters = options"),
      "two connections are given one session",
    ],
    [
      "by the session, which passes over it as well",
      pooler("session", "ignore_startup_parameters = options"),
      "are not passed on",
    ],
  ])("refuses a pooler that gives sessions %s, before anything changes", async (_what, settings, why) => {
    await pooled(settings, async () => {
      const { exitCode, stderr } = await look(url(6432));
      expect(exitCode, stderr).toBe(1);
      expect(stderr).toContain(`${address(60)}:6432 is a connection pooler and no PostgreSQL server`);
      expect(stderr).toContain(why);
      expect(stderr).toMatch(/Nothing was changed\n.*the server's own address and port in MIGRATION_DATABASE_URL/);
      // Nothing is left in a session that others are given.
      const limit = docker(
        ...["exec", container, "psql", url(6432).replace(address(60), "127.0.0.1"), "-Atc", "SHOW statement_timeout"],
      );
      expect(await limit).toBe("7s");
      const copies = { DATABASE_URL: url(5432), DATABASE_ADMIN_URL: url(6432, "postgres") };
      const discard = await harness.run("discard", { database: null }, copies);
      expect(discard.exitCode).toBe(1);
      expect(discard.stderr).toContain("is a connection pooler and no PostgreSQL server");
      // Migrations and snapshots by the server itself, its own connections by the pooler.
      const direct = await look(url(5432), url(6432));
      expect(direct.exitCode, direct.stderr).toBe(0);
      expect(await sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")).toBe("0");
    });
  });

  it("says that an extension of one database only keeps a snapshot from being restored beside it", async () => {
    await sql(
      "CREATE EXTENSION pg_cron; GRANT USAGE ON SCHEMA cron TO boss; SELECT cron.schedule('0 3 * * *', 'SELECT 1')",
    );
    const environment = { DATABASE_URL: url(5432, "managed", "postgres") };
    const take = {
      backupLocation: harness.backups,
      retention: 20,
      keepVerified: 2,
      format: "sql.gz",
      recipients: [],
      release,
    } as const;
    const taken = await harness.run("snapshot", take, environment);
    expect(taken.exitCode, taken.stderr).toBe(0);
    const proof = {
      backupLocation: harness.backups,
      file: basename(taken.result.file),
      foreign: false,
      sha256: taken.result.sha256,
    };
    const strict = await harness.run("verify", { ...proof, required: true }, environment);
    expect(strict.exitCode, strict.stderr).toBe(1);
    expect(strict.stderr).toMatch(
      /can be in one database of a server only: can only create extension in database managed\n.*DROP EXTENSION pg_cron/,
    );
    const lenient = await harness.run("verify", { ...proof, required: false }, environment);
    expect(lenient.exitCode, lenient.stderr).toBe(0);
    expect(lenient.result.verified).toBe(false);
  });
});
