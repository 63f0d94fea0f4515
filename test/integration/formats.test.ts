/** Snapshots in the formats beside `.sql.gz`, from the dump to the restore, against a real PostgreSQL. */
import { cp, mkdir, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundledImageTag } from "../../ops/image.ts";
import { formatOf, manifestName, restoreByHand, type SnapshotFormat } from "../../ops/contract/snapshot-format.ts";
import type { Manifest } from "../../ops/contract/manifest.ts";
import { docker, eventually, Harness } from "../step-harness.ts";
import { makeIdentity } from "./age-identity.ts";

const harness = new Harness();
const release = { version: "v2.0.0", commit: "9f8e7d6c5b4a39281706f5e4d3c2b1a098765432" };
const owner = (database: string): string => harness.url(database, { name: "owner", password: "owner-password" });
const live = { DATABASE_URL: "", DATABASE_ADMIN_URL: "", SNAPSHOT_IDENTITY: "" };
const identity = { secret: "", recipient: "" };

beforeAll(async () => {
  await harness.setUp();
  await mkdir(harness.backups);
  Object.assign(live, { DATABASE_URL: owner("live"), DATABASE_ADMIN_URL: harness.url() });
  Object.assign(identity, await makeIdentity());
  live.SNAPSHOT_IDENTITY = identity.secret;
  await harness.sql("CREATE ROLE owner LOGIN PASSWORD 'owner-password'");
  await harness.sql("CREATE ROLE app LOGIN PASSWORD 'app-password'");
  await harness.sql("CREATE DATABASE live OWNER owner");
  await harness.sql("CREATE EXTENSION postgis; CREATE EXTENSION vector; CREATE EXTENSION pg_trgm", "live");
  await harness.sql(
    `SET ROLE owner;
     CREATE TABLE events (id int PRIMARY KEY, name text, place geography(point, 4326), embedding vector(3)); GRANT SELECT ON events TO app;
     CREATE INDEX events_name_idx ON events USING gin (name gin_trgm_ops);
     CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO schema_migrations VALUES (7, false);
     INSERT INTO events SELECT n, md5(n::text), 'POINT(1 2)', '[1,2,3]' FROM generate_series(1, 30000) n;`,
    "live",
  );
}, 300_000);
afterAll(() => harness.tearDown());

const databases = async (): Promise<string[]> =>
  (
    await harness.sql("SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres' ORDER BY 1")
  ).split("\n");
const manifestOf = async (file: string): Promise<Manifest> =>
  JSON.parse(await readFile(join(harness.backups, manifestName(file)), "utf8")) as Manifest;
const choice = (file: string) => ({ backupLocation: harness.backups, file, foreign: false }) as const;

describe.each([
  { what: "in the format sql.zst", format: "sql.zst", encrypted: false },
  { what: "in the format directory", format: "directory", encrypted: false },
  { what: "that is encrypted", format: "sql.gz", encrypted: true },
] as const satisfies { what: string; format: SnapshotFormat; encrypted: boolean }[])(
  "a snapshot $what",
  ({ format, encrypted }) => {
    let file: string;
    const request = { backupLocation: "", retention: 20, keepVerified: 2, format, recipients: [] as string[], release };

    /** The part of it that is spoiled. */
    const part = async (path: string): Promise<string> => {
      if (format !== "directory") return path;
      const sizes = await Promise.all(
        (await readdir(path))
          .filter((name) => name.endsWith(".dat.zst"))
          .map(async (name) => ({ name, size: (await stat(join(path, name))).size })),
      );
      return join(path, sizes.sort((a, b) => b.size - a.size)[0]?.name ?? "");
    };
    let copies = 0;
    async function spoiled(spoil: (part: string, path: string) => Promise<void>): Promise<string> {
      const copy = file.replace(/\d{8}_\d{6}/, `20200101_00000${copies++}`);
      await cp(join(harness.backups, file), join(harness.backups, copy), { recursive: true });
      await writeFile(
        join(harness.backups, manifestName(copy)),
        JSON.stringify({ ...(await manifestOf(file)), file: copy }),
      );
      await spoil(await part(join(harness.backups, copy)), join(harness.backups, copy));
      return copy;
    }

    it("is taken whole, for its owner alone, with a manifest", async () => {
      request.backupLocation = harness.backups;
      if (encrypted) request.recipients = [identity.recipient];
      const { exitCode, stderr, result } = await harness.run("snapshot", request, live);
      expect(exitCode, stderr).toBe(0);
      file = basename(result.file);
      expect(formatOf(file)).toBe(format);
      const manifest = await manifestOf(file);
      expect(file.endsWith(".age")).toBe(encrypted);
      expect(manifest).toMatchObject({
        file,
        format,
        recipients: request.recipients,
        bytes: result.bytes,
        sha256: result.sha256,
        rows: 30_001,
        migration_version: 7,
      });
      const { mode } = await stat(join(harness.backups, file));
      expect((mode & 0o777).toString(8)).toBe(format === "directory" ? "700" : "600");
      const { stdout } = await execa(
        "sh",
        ["-c", format === "directory" ? 'cd "$FILE" && LC_ALL=C sha256sum * | sha256sum' : 'sha256sum "$FILE"'],
        { env: { FILE: result.file } },
      );
      expect(stdout.split(" ")[0]).toBe(result.sha256);
    });

    it("is restored by hand with the words that we give", async () => {
      await harness.sql("CREATE DATABASE byhand");
      const path = `/backups/${file}`;
      const words = restoreByHand(path, format).replace("DATABASE", "byhand").replace("IDENTITY", "/key");
      await writeFile(join(harness.directory, "key"), `${identity.secret}\n`, { mode: 0o600 });
      await docker(
        "run",
        "--rm",
        `--network=${harness.network}`,
        `--volume=${harness.backups}:/backups:ro`,
        `--volume=${harness.directory}/key:/key:ro`,
        "--entrypoint=sh",
        "--env",
        `PGPASSWORD=${harness.password}`,
        "--env",
        `PGHOST=${harness.address(20)}`,
        "--env",
        "PGUSER=postgres",
        "--env",
        "PGDATABASE=byhand",
        bundledImageTag("ops"),
        "-c",
        words,
      );
      expect(
        await harness.sql(
          "SELECT count(*), sum(id), has_table_privilege('app', 'events', 'SELECT') FROM events",
          "byhand",
        ),
      ).toBe("30000|450015000|t");
      await harness.sql("DROP DATABASE byhand");
    });

    it("that takes more rights than the role has says which, hard only where a proof is demanded", async () => {
      await harness.sql("CREATE DATABASE barred OWNER owner");
      await harness.sql(
        "CREATE ROLE third; SET ROLE owner; CREATE TABLE notes (t text); RESET ROLE; CREATE TABLE others (t text); ALTER TABLE others OWNER TO third; GRANT SELECT ON others TO owner",
        "barred",
      );
      await harness.sql("ALTER ROLE owner CREATEDB");
      const own = { DATABASE_URL: owner("barred"), SNAPSHOT_IDENTITY: identity.secret };
      const barred = async (what: RegExp, grant: string): Promise<void> => {
        const taken = await harness.run("snapshot", request, own);
        expect(taken.exitCode, taken.stderr).toBe(0);
        const proof = { ...choice(basename(taken.result.file)), sha256: taken.result.sha256 };
        const strict = await harness.run("verify", { ...proof, required: true }, own);
        expect(strict.exitCode).not.toBe(0);
        expect(strict.stderr).toMatch(what);
        expect(strict.stderr).toContain(grant);
        const lenient = await harness.run("verify", { ...proof, required: false }, own);
        expect(lenient.exitCode, lenient.stderr).toBe(0);
        expect(lenient.result.verified).toBe(false);
        expect(lenient.result.reason).toMatch(what);
        await rm(join(harness.backups, basename(taken.result.file)), { recursive: true });
        await rm(join(harness.backups, manifestName(basename(taken.result.file))));
      };
      await harness.sql("REVOKE SELECT ON others FROM owner", "barred");
      const unreadable = await harness.run("snapshot", request, own);
      expect(unreadable.exitCode).toBe(1);
      expect(unreadable.stderr).toMatch(
        /no snapshot can be taken: role owner may not read the table others.*\n.*GRANT pg_read_all_data TO "owner";/,
      );
      await harness.sql("GRANT SELECT ON others TO owner", "barred");
      await barred(/role owner may not do what it takes: must be .*"third"/, 'GRANT "third" TO "owner"');
      await harness.sql("DROP TABLE others; CREATE PUBLICATION everything FOR ALL TABLES", "barred");
      await barred(
        /role owner may not do what it takes: must be superuser to create FOR ALL TABLES publication/,
        "DATABASE_ADMIN_URL of a role that may",
      );
      await harness.sql(
        "DROP PUBLICATION everything; CREATE FUNCTION noted() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN NULL; END'; ALTER FUNCTION noted() OWNER TO owner; CREATE EVENT TRIGGER noted ON ddl_command_end EXECUTE FUNCTION noted()",
        "barred",
      );
      await barred(
        /role owner may not do what it takes: permission denied to create event trigger "noted"/,
        "DATABASE_ADMIN_URL of a role that may",
      );
      await harness.sql("ALTER ROLE owner NOCREATEDB");
      await harness.sql("DROP DATABASE barred");
      await harness.sql("DROP ROLE third");
      expect(await databases()).toEqual(["live"]);
    });

    it("is taken and proved by a role whose idle sessions and long transactions the server ends", async () => {
      const limits = [
        "idle_session_timeout = '300ms'",
        "idle_in_transaction_session_timeout = '300ms'",
        "transaction_timeout = '1s'",
      ];
      for (const limit of limits) await harness.sql(`ALTER ROLE owner SET ${limit}`);
      await harness.sql("ALTER ROLE postgres SET idle_session_timeout = '300ms'");
      const taken = await harness.run("snapshot", request, live);
      expect(taken.exitCode, taken.stderr).toBe(0);
      const { exitCode, stderr } = await harness.run(
        "verify",
        { ...choice(basename(taken.result.file)), sha256: taken.result.sha256, required: true },
        live,
      );
      await harness.sql("ALTER ROLE owner RESET ALL");
      await harness.sql("ALTER ROLE postgres RESET ALL");
      expect(exitCode, stderr).toBe(0);
      await rm(join(harness.backups, basename(taken.result.file)), { recursive: true });
      await rm(join(harness.backups, manifestName(basename(taken.result.file))));
    });

    it("is proved by a restore, as the superuser and as an owner who is none", async () => {
      const { sha256 } = await manifestOf(file);
      const proved = await harness.run("verify", { ...choice(file), sha256, required: true }, live);
      expect(proved.exitCode, proved.stderr).toBe(0);
      expect(proved.result).toMatchObject({ verified: true, rows: 30_001, tables: 2 });
      await harness.sql("CREATE DATABASE plain OWNER owner");
      await harness.sql(
        "CREATE EXTENSION pg_trgm; SET ROLE owner; CREATE TABLE notes (t text); INSERT INTO notes VALUES ('x'); CREATE TABLE none (t text)",
        "plain",
      );
      await harness.sql("ALTER ROLE owner CREATEDB");
      const own = { DATABASE_URL: owner("plain"), SNAPSHOT_IDENTITY: identity.secret };
      const taken = await harness.run("snapshot", request, own);
      expect(taken.exitCode, taken.stderr).toBe(0);
      const { exitCode, stderr } = await harness.run(
        "verify",
        { ...choice(basename(taken.result.file)), sha256: taken.result.sha256, required: true },
        own,
      );
      expect(exitCode, stderr).toBe(0);
      await harness.sql("ALTER ROLE owner NOCREATEDB");
      await harness.sql("DROP DATABASE plain");
      await rm(join(harness.backups, basename(taken.result.file)), { recursive: true });
      expect(await databases()).toEqual(["live"]);
    });

    it.each([
      [
        "a flipped bit",
        async (path: string) => {
          const bytes = await readFile(path);
          bytes[500] = (bytes[500] ?? 0) ^ 1;
          await writeFile(path, bytes);
        },
        /is corrupt: its SHA-256 is/,
      ],
      ["a cut file", (path: string) => truncate(path, 400), /is truncated: it has \d+ bytes, expected \d+/],
      ["an empty file", (path: string) => truncate(path, 0), /is truncated: it has \d+ bytes/],
    ] as const)("is refused with %s before anything is touched", async (_what, spoil, message) => {
      const { exitCode, stderr } = await harness.run(
        "restore",
        { ...choice(await spoiled(spoil)), mode: "restore" },
        live,
      );
      expect(stderr).toMatch(message);
      expect(exitCode).toBe(1);
      expect(await databases()).toEqual(["live"]);
    });

    if (encrypted) {
      it("can be read by nobody without an identity, or with another one", async () => {
        expect((await readFile(join(harness.backups, file))).subarray(0, 21).toString()).toBe("age-encryption.org/v1");
        const without = { ...live, SNAPSHOT_IDENTITY: "" };
        const strict = await harness.run("verify", { ...choice(file), sha256: null, required: true }, without);
        expect([strict.exitCode, strict.stderr]).toEqual([
          1,
          expect.stringMatching(
            /is encrypted, and there is no identity that reads it: only its checksum is known to be right\n.*set SNAPSHOT_IDENTITY/,
          ),
        ]);
        const lenient = await harness.run("verify", { ...choice(file), sha256: null, required: false }, without);
        expect(lenient.result).toMatchObject({
          verified: false,
          reason: expect.stringContaining("is encrypted") as unknown,
        });
        const other = await harness.run(
          "restore",
          { ...choice(file), mode: "restore" },
          { ...live, SNAPSHOT_IDENTITY: (await makeIdentity()).secret },
        );
        expect([other.exitCode, other.stderr]).toEqual([
          1,
          expect.stringMatching(/can't be unpacked: decrypting failed .*no identity matched any of the recipients/),
        ]);
        expect(await databases()).toEqual(["live"]);
      });

      it("has its identity on no command line while it is read", async () => {
        const verifying = harness.start("verify", { ...choice(file), sha256: null, required: true }, live);
        const seen: string[] = [];
        const ended = verifying.then(() => true);
        while ((await Promise.race([ended, harness.commandLines().then((lines) => void seen.push(lines))])) !== true);
        expect(seen.some((lines) => lines.includes("age\0--decrypt"))).toBe(true);
        for (const lines of seen) expect(lines).not.toContain(identity.secret);
      });
    }

    it("takes the place of the live database", async () => {
      await harness.sql("DELETE FROM events WHERE id > 100", "live");
      const { exitCode, stderr, result } = await harness.run("restore", { ...choice(file), mode: "restore" }, live);
      expect(exitCode, stderr).toBe(0);
      expect(
        await harness.sql("SELECT count(*), has_table_privilege('app', 'events', 'SELECT') FROM events", "live"),
      ).toBe("30000|t");
      await harness.sql(`DROP DATABASE "${result.replaced ?? ""}"`);
    });

    it("leaves only a part behind when its client is killed, which the next one removes", async () => {
      const holder = harness
        .sql("BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(120)", "live")
        .catch(() => undefined);
      const before = (await readdir(harness.backups)).length;
      try {
        const dumping = harness.start("snapshot", request, live);
        await eventually("a part of a snapshot", async () =>
          (await readdir(harness.backups)).some((name) => name.endsWith(".partial")),
        );
        dumping.kill("SIGKILL");
        await dumping;
      } finally {
        await harness.sql(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()",
        );
        await holder;
      }
      await eventually(
        "the step is gone",
        async () => (await docker("ps", "--quiet", `--filter=name=togather-${harness.name}-snapshot-`)) === "",
      );
      const { exitCode, stderr } = await harness.run("snapshot", { ...request, retention: 1, keepVerified: 0 }, live);
      expect(exitCode, stderr).toBe(0);
      const left = await readdir(harness.backups);
      expect(left.filter((name) => name.endsWith(".partial"))).toEqual([]);
      expect(left.length).toBe(2);
      expect(left.length).toBeLessThan(before);
    });
  },
);

it("writes a password on no command line, in no log and no state", async () => {
  expect(await harness.written()).not.toContain(harness.password);
  expect(await harness.written()).not.toContain("owner-password");
  expect(await harness.written()).not.toContain(identity.secret);
});
