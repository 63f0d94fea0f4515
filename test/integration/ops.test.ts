/** The steps of `ops` against a real engine and a real PostgreSQL, run as Pulumi runs them. */
import { createHash } from "node:crypto";
import { chown, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundledImageTag } from "../../ops/image.ts";
import { docker, eventually, Harness } from "../step-harness.ts";
import { parseHistory, type Current, type DeploymentState } from "../../ops/contract/deployment-state.ts";
import { pulledTag } from "../../ops/client/prune.ts";
import { DockerHost } from "./docker-host.ts";
import { ImageRegistry } from "./image-registry.ts";

const harness = new Harness();
const release = { version: "v1.0.0", commit: "1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d" };
const next = { version: "v1.1.0", commit: "9f8e7d6c5b4a39281706f5e4d3c2b1a098765432" };
/** Everything that any client printed. */
const printed: string[] = [];
let scratch: string;

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "togather-ops-scratch-"));
  await harness.setUp();
});
afterAll(async () => {
  await harness.tearDown();
  await rm(scratch, { recursive: true, force: true });
});

const run: Harness["run"] = async (...args) => {
  const outcome = await harness.run(...args);
  printed.push(outcome.stdout, outcome.stderr);
  return outcome;
};
const history = async (): Promise<string[]> =>
  parseHistory(await readFile(join(harness.directory, "state", "history.jsonl"), "utf8")).map(
    ({ event, deployment_id, error }) => `${event} ${deployment_id.slice(16)}${error === undefined ? "" : ` ${error}`}`,
  );

describe("begin and record", () => {
  it("open a deployment, resume it, give up on one that was interrupted, and close it", async () => {
    const first = await run("begin", { activeSlot: "blue", slots: { blue: release } });
    expect(first.stderr).toContain("begins");
    expect(first.result.deploymentId).toMatch(/^\d{8}_\d{6}_1a2b3c4$/);

    const again = await run("begin", { activeSlot: "blue", slots: { blue: release } });
    expect(again.result).toEqual(first.result);

    const other = await run("begin", { activeSlot: "green", slots: { blue: release, green: next } });
    expect(other.result.deploymentId).toMatch(/_9f8e7d6$/);
    expect(await history()).toEqual([
      "in_progress 1a2b3c4",
      "resumed 1a2b3c4",
      "failed 1a2b3c4 interrupted",
      "in_progress 9f8e7d6",
    ]);

    const closing = {
      deploymentId: other.result.deploymentId,
      activeSlot: "green",
      release: next,
      slots: { blue: release, green: next },
      logRetention: 100,
    } as const;
    const closed = await run("record", closing, { TOGATHER_DEPLOYED_BY: "deploy-bot" });
    expect(closed.result).toEqual({
      deploymentId: other.result.deploymentId,
      file: join(harness.directory, "state", "deployment-state.json"),
      log: join(harness.directory, "logs", `${other.result.deploymentId}.log`),
    });
    expect(closed.stderr).toContain("SUCCESS");
    const state = await harness.readState<DeploymentState>("deployment-state.json");
    expect(state).toMatchObject({
      deployment_id: other.result.deploymentId,
      environment: "staging",
      active_slot: "green",
      version: "v1.1.0",
      git_commit: next.commit,
      timestamp: other.result.startedAt,
      deployed_by: "deploy-bot",
      previous_slot: null,
      status: "succeeded",
    });

    await run("record", closing);
    expect((await history()).slice(4)).toEqual(["succeeded 9f8e7d6"]);
    expect(await harness.readState("deployment-state.json")).toEqual(state);
    // A file that was lost is written again; the deployment has not succeeded twice for it, nor later.
    await rm(join(harness.directory, "state", "deployment-state.json"));
    await run("record", closing, { TOGATHER_DEPLOYED_BY: "deploy-bot" });
    expect((await history()).slice(4)).toEqual(["succeeded 9f8e7d6"]);
    expect(await harness.readState("deployment-state.json")).toEqual(state);

    const back = await run("begin", { activeSlot: "blue", slots: { blue: release, green: next } });
    await run("record", {
      deploymentId: back.result.deploymentId,
      activeSlot: "blue",
      release,
      slots: { blue: release, green: next },
      logRetention: 2,
    });
    // The first deployment never got further than its log, which is older than the two that stay.
    expect((await readdir(join(harness.directory, "logs"))).filter((file) => !file.includes("_begin")).sort()).toEqual(
      [`${other.result.deploymentId}.log`, `${back.result.deploymentId}.log`].sort(),
    );
    expect(await harness.readState("deployment-state.json")).toMatchObject({
      active_slot: "blue",
      previous_slot: "green",
    });
  });

  it("is closed as failed by what fails outside of a step's container, and only while it is open", async () => {
    const { result } = await run("begin", { activeSlot: "green", slots: { blue: release, green: next } });
    const failure = { phase: "build", version: next.version, error: "the image can't be built" };
    expect((await run("fail", { ...failure, deploymentId: "20200101_000000_1a2b3c4" })).result).toEqual({
      deploymentId: null,
    });
    expect((await run("fail", failure)).result).toEqual({ deploymentId: result.deploymentId });
    expect((await history()).at(-1)).toBe("failed 9f8e7d6 the image can't be built");
    expect(await harness.readState("current.json")).toMatchObject({
      status: "failed",
      failed_phase: "build",
      error: failure.error,
    });
    expect(await readFile(join(harness.directory, "logs", `${result.deploymentId}.log`), "utf8")).toMatch(
      /"level":"ERROR".*the image can't be built/,
    );
    expect((await run("fail", failure)).result).toEqual({ deploymentId: null });
    // It goes on under its own id, and is closed.
    const again = await run("begin", { activeSlot: "green", slots: { blue: release, green: next } });
    expect(again.result.deploymentId).toBe(result.deploymentId);
    await run("record", {
      deploymentId: result.deploymentId,
      activeSlot: "green",
      release: next,
      slots: { blue: release, green: next },
      logRetention: 100,
    });
    const back = await run("begin", { activeSlot: "blue", slots: { blue: release, green: next } });
    await run("record", {
      deploymentId: back.result.deploymentId,
      activeSlot: "blue",
      release,
      slots: { blue: release, green: next },
      logRetention: 100,
    });
  });

  it("have the operator's command run once for each failure, with what it needs to know and no secret", async () => {
    const told = join(harness.directory, "told.txt");
    const script = `echo "$TOGATHER_STATUS $TOGATHER_NAME $TOGATHER_FAILED_PHASE $TOGATHER_VERSION: $TOGATHER_ERROR \${DATABASE_URL-none}" >> "$1"; echo said so; exit 3`;
    const slots = { blue: release, green: next };
    const begun = await run("begin", {
      activeSlot: "green",
      slots,
      failureCommand: ["sh", "-c", script, "told", told],
    });
    const failure = {
      phase: "build",
      slot: "green",
      version: next.version,
      error: "the image can't be built",
    } as const;
    const failed = await run("fail", failure, { DATABASE_URL: "postgres://canary" });
    expect(failed.stderr).toMatch(/said so[\s\S]*WARN: failure command: sh: it ended with exit code 3/);
    // The other slot's step fails of the same cause, a moment later.
    await run("fail", failure);
    const line = `failed ${harness.name} build ${next.version}: the image can't be built none\n`;
    expect(await readFile(told, "utf8")).toBe(line);
    // Run again, it fails again.
    await run("begin", { activeSlot: "green", slots, failureCommand: ["sh", "-c", script, "told", told] });
    await run("fail", failure);
    expect(await readFile(told, "utf8")).toBe(line + line);
    // A command that can't be run is reported, and changes nothing.
    await run("begin", { activeSlot: "green", slots, failureCommand: ["/no/such/program"] });
    const missing = await run("fail", failure);
    expect(missing.stderr).toMatch(/WARN: failure command: \/no\/such\/program: .*ENOENT/);
    expect(missing.result).toEqual({ deploymentId: begun.result.deploymentId });
    await run("record", {
      deploymentId: begun.result.deploymentId,
      activeSlot: "green",
      release: next,
      slots,
      logRetention: 100,
    });
  });

  it("writes log lines that programs can read", async () => {
    const { result } = await run("begin", { activeSlot: "green", slots: { green: next } });
    const lines = (await readFile(join(harness.directory, "logs", `${result.deploymentId}.log`), "utf8"))
      .trim()
      .split("\n");
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({
      level: "INFO",
      deployment_id: result.deploymentId,
      phase: "begin",
      message: expect.stringContaining("begins") as unknown,
    });
  });
});

// On a separate engine: it removes images without owners, and this one has those of other tests.
describe("prune", () => {
  let host: DockerHost;
  beforeAll(async () => {
    host = await DockerHost.start(80);
  });
  afterAll(() => host.remove());

  it("removes the oldest images that nothing uses, and no others", async () => {
    const tag = (part: string): string => `togather-server:${part}`;
    const env = { PATH: host.environment["PATH"] ?? "", DOCKER_HOST: host.address };
    for (const part of ["used", "held", "old", "kept", "new"]) {
      await execa("docker", ["import", `--change=LABEL part=${part}`, "-", tag(part)], {
        input: Buffer.alloc(1024),
        env,
      });
      // An earlier image of a slot; a tag makes an image count as new.
      if (part === "old") await host.docker("tag", tag(part), `togather-kept:${harness.name}-9999`);
    }
    await host.docker("create", "--name=uses", tag("used"), "nothing");
    // Another deployment's, whose container is gone until a rollback.
    await host.docker("tag", tag("held"), `togather-kept:other-${harness.name}-1`);
    const { result, exitCode } = await run("prune", { keep: [tag("kept")], retention: 1 }, env);
    expect(exitCode).toBe(0);
    expect(result.removed).toEqual([tag("old")]);
    const left = (repository: string): Promise<string> =>
      host.docker("image", "ls", "--format={{.Tag}} {{.ID}}", `--filter=reference=${repository}`);
    const tagsOf = (listed: string): string[] => listed.split("\n").map((line) => line.replace(/ .*/, ""));
    expect(tagsOf(await left("togather-server")).sort()).toEqual(["held", "kept", "new", "used"]);
    // Its own slots' images are held on to the same way, and what they hold no more is not.
    expect(tagsOf(await left("togather-kept")).sort()).toEqual([`${harness.name}-1`, `other-${harness.name}-1`].sort());
    const id = (image: string): Promise<string> => host.docker("image", "inspect", "--format={{.Id}}", image);
    expect(await id(`togather-kept:${harness.name}-1`)).toBe(await id(tag("kept")));
  });

  it("removes what it has pulled for earlier releases, but nothing that another deployment, a tag of somebody's or a container holds", async () => {
    const env = { PATH: host.environment["PATH"] ?? "", DOCKER_HOST: host.address };
    const registry = await ImageRegistry.start(host);
    try {
      const pull = async (name: string): Promise<string> => {
        const image = registry.add(name);
        await eventually(`${name} is pulled`, () => host.docker("pull", image).then(() => true));
        return image;
      };
      const prune = async (pulled: string[], retention = 0): Promise<string[]> => {
        const { result, exitCode, stderr } = await run("prune", { keep: [], pulled, retention }, env);
        expect(exitCode, stderr).toBe(0);
        // Images of the previous test belong to another registry.
        return result.removed.filter((name) => name.startsWith(registry.address)).sort();
      };
      const images: Record<string, string> = {};
      for (const name of ["older", "tagged", "used", "others", "old", "now"]) {
        images[name] = await pull(name);
        expect(await prune([images[name] ?? ""], 9)).toEqual([]);
      }
      const { older = "", tagged = "", used = "", others = "", old = "", now = "" } = images;
      const foreign = await pull("foreign");
      await host.docker("tag", tagged, "somebody:v1");
      await host.docker("create", "--name=uses-pulled", used, "nothing");
      await host.docker("tag", others, pulledTag(`other-${harness.name}`, others));

      expect(await prune([now], 5)).toEqual([]);
      // A tag makes an image count as new, whoever gives it: the newest is the one that another deployment has.
      expect(await prune([now], 1)).toEqual([old, older].sort());
      for (const kept of [tagged, used, others, now, foreign]) await host.docker("image", "inspect", kept);
      // An image goes once no container uses it.
      await host.docker("rm", "uses-pulled");
      expect(await prune([now], 0)).toEqual([used]);
      for (const kept of [tagged, others, now, foreign]) await host.docker("image", "inspect", kept);
    } finally {
      registry.stop();
    }
  });

  it("is no reason for a deployment to fail", async () => {
    const { exitCode, stderr, result } = await run(
      "prune",
      { keep: [], retention: 1 },
      { DOCKER_HOST: "unix:///nowhere.sock" },
    );
    expect(exitCode).toBe(0);
    expect(result).toEqual({ removed: [] });
    expect(stderr).toContain("images of earlier releases stay: the Docker engine doesn't answer");
  });
});

describe("snapshot", () => {
  it("of a release is not taken again because a setting has changed, but for another release, database or host is", async () => {
    const url = await harness.database("settled");
    const backupLocation = join(harness.directory, "backups-settled");
    await mkdir(backupLocation);
    const other = await harness.database("moved");
    const first = await run("snapshot", { ...request(), backupLocation }, { DATABASE_URL: url });
    // Pulumi's command provider gives a step its earlier output.
    const again = (over: Partial<ReturnType<typeof request>>, environment: Record<string, string> = {}) =>
      run(
        "snapshot",
        { ...request(), backupLocation, ...over },
        { DATABASE_URL: url, PULUMI_COMMAND_STDOUT: first.stdout, ...environment },
      );
    await harness.sql("CREATE TABLE migrated (id int)", "settled");
    const kept = await again({ format: "sql.zst", retention: 3 });
    expect(kept.exitCode, kept.stderr).toBe(0);
    expect(kept.result).toEqual(first.result);
    expect(kept.stderr).toContain(`is from before ${release.version} already`);
    expect((await again({ release: { ...release, version: "v2.0.1" } })).result.file).not.toBe(first.result.file);
    expect((await again({}, { DATABASE_URL: other })).result.file).not.toBe(first.result.file);
    await rm(join(backupLocation, basename(first.result.file)));
    expect((await again({})).result.file).not.toBe(first.result.file);
  });

  const request = (over: { retention?: number } = {}): Parameters<typeof run<"snapshot">>[1] => ({
    backupLocation: harness.backups,
    retention: over.retention ?? 7,
    keepVerified: 2,
    format: "sql.gz",
    recipients: [],
    release,
  });
  const files = async (): Promise<string[]> => (await readdir(harness.backups)).sort();

  it("can be restored into a fresh database, permissions too, with psql stopping at the first error", async () => {
    const url = await harness.database("filled");
    await harness.sql(
      `CREATE ROLE app_role LOGIN PASSWORD 'role-canary-77'; CREATE ROLE "odd ""role";
       CREATE TABLE events (id int PRIMARY KEY, name text); INSERT INTO events SELECT n, 'e ' || n FROM generate_series(1, 5000) n;
       GRANT SELECT ON events TO app_role;
       CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO schema_migrations VALUES (7, false);`,
      "filled",
    );
    await mkdir(harness.backups);
    await chown(harness.backups, 12345, 12345);
    const { exitCode, stderr, result } = await run("snapshot", request(), { DATABASE_URL: url });
    expect(stderr).toContain("schema version 7");
    expect(exitCode).toBe(0);

    expect(result.file).toMatch(new RegExp(`/togather_${harness.name}_\\d{8}_\\d{6}\\.sql\\.gz$`));
    const content = await readFile(result.file);
    expect(result).toMatchObject({
      bytes: content.length,
      sha256: createHash("sha256").update(content).digest("hex"),
      migrationVersion: 7,
    });
    expect(await stat(result.file)).toMatchObject({ uid: 12345, gid: 12345, mode: 0o100600 });
    const manifest = JSON.parse(await readFile(result.file.replace(/\.sql\.gz$/, ".json"), "utf8")) as Record<
      string,
      unknown
    >;
    expect(manifest).toMatchObject({
      database: "filled",
      sha256: result.sha256,
      migration_version: 7,
      before_version: "v1.0.0",
      tables: { "public.events": 5000, "public.schema_migrations": 1 },
      rows: 5001,
      extensions: { plpgsql: "1.0" },
      tool_version: expect.stringContaining("17.") as unknown,
    });

    await harness.sql("CREATE DATABASE restored");
    const restore = await execa(
      "sh",
      [
        "-c",
        `gunzip -c "$FILE" | docker exec -i ${harness.postgres} psql -q -U postgres -d restored -v ON_ERROR_STOP=1`,
      ],
      { env: { FILE: result.file }, reject: false },
    );
    expect(restore.stderr).toBe("");
    expect(restore.exitCode).toBe(0);
    expect(
      await harness.sql(
        "SELECT count(*), sum(id), max(name), has_table_privilege('app_role', 'events', 'SELECT') FROM events",
        "restored",
      ),
    ).toBe("5000|12502500|e 999|t");
    const text = (await execa("gunzip", ["-c", result.file])).stdout;
    expect(text).toContain("CREATE ROLE app_role");
    expect(text).not.toContain("role-canary-77");
    expect(text).not.toMatch(/PASSWORD/);
  });

  it("takes one of an empty database too, and keeps as many as it is told", async () => {
    const url = await harness.database("nothing");
    const { result } = await run("snapshot", request({ retention: 1 }), { DATABASE_URL: url });
    expect(result.migrationVersion).toBeNull();
    expect(await files()).toEqual(
      [result.file, result.file.replace(/\.sql\.gz$/, ".json")]
        .map((file) => file.slice(harness.backups.length + 1))
        .sort(),
    );
  });

  /** A lock that pg_dump has to wait for: it is in the middle of its work for as long as the test likes. */
  async function whileDumping<T>(
    use: (snapshot: ReturnType<typeof harness.start<"snapshot">>, container: string) => Promise<T>,
  ): Promise<T> {
    const holder = harness
      .sql("BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(120)", "filled")
      .catch(() => undefined);
    try {
      const snapshot = harness.start("snapshot", request(), { DATABASE_URL: harness.url("filled") });
      const container = await harness.stepContainer("snapshot");
      await eventually(
        "pg_dump waits for the lock",
        async () =>
          (await harness.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'LOCK TABLE%'",
          )) !== "0",
      );
      return await use(snapshot, container);
    } finally {
      await harness.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()",
      );
      await holder;
    }
  }

  it("leaves nothing behind when pg_dump is killed, and has its password on no command line", async () => {
    const before = await files();
    await whileDumping(async (snapshot, container) => {
      const lines = await harness.commandLines();
      expect(lines).toContain("pg_dump");
      expect(lines).not.toContain("c4n4ry");
      expect((await files()).filter((file) => file.endsWith(".partial"))).toHaveLength(1);
      await docker(
        "exec",
        container,
        "sh",
        "-c",
        'for p in /proc/[0-9]*; do if [ "$(cat $p/comm)" = pg_dump ]; then kill -9 "${p#/proc/}"; fi; done',
      );
      const { exitCode, stderr } = await snapshot;
      printed.push(stderr);
      expect(stderr).toContain("pg_dump failed (killed by SIGKILL)");
      expect(exitCode).toBe(1);
    });
    expect(await files()).toEqual(before);
    expect(await harness.readState<Current>("current.json")).toMatchObject({
      status: "failed",
      failed_phase: "snapshot",
      error: expect.stringContaining("SIGKILL") as unknown,
    });
  });

  it("ends when its client is killed with -9, and leaves nothing behind", async () => {
    const before = await files();
    await whileDumping(async (snapshot, container) => {
      snapshot.kill("SIGKILL");
      await snapshot;
      await eventually(
        "the container is gone",
        async () => (await docker("ps", "--all", "--quiet", `--filter=name=${container}`)) === "",
        20,
      );
    });
    expect(await files()).toEqual(before);
    expect(await harness.readState<Current>("current.json")).toMatchObject({
      status: "failed",
      error: expect.stringContaining("client that started this step is gone") as unknown,
    });
  });

  it("stops cleanly on SIGINT, with exit code 130", async () => {
    const before = await files();
    await whileDumping(async (snapshot, container) => {
      snapshot.kill("SIGINT");
      const { exitCode, stderr } = await snapshot;
      expect(stderr).toContain("interrupted");
      expect(exitCode).toBe(130);
      expect(await docker("ps", "--all", "--quiet", `--filter=name=${container}`)).toBe("");
    });
    expect(await files()).toEqual(before);
  });

  it("tells what it couldn't connect to, without the password", async () => {
    const { exitCode, stderr } = await run("snapshot", request(), {
      DATABASE_URL: harness.url("filled").replace("postgres:", "postgres:wrong"),
    });
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(
      /no connection to the database filled at 10\.214\.\d+\.20:5432 as postgres: password authentication failed/,
    );
  });
});

describe("migrate", () => {
  const good = {
    "1_a.up.sql": "CREATE TABLE a (id int);",
    "1_a.down.sql": "DROP TABLE a;",
    "2_b.up.sql": "CREATE TABLE b (id int); INSERT INTO b VALUES (1);",
  };
  let trees = 0;
  async function tree(files: Record<string, string>): Promise<string> {
    const directory = join(scratch, `tree-${trees++}`);
    await mkdir(join(directory, "db", "migrations"), { recursive: true });
    for (const [name, text] of Object.entries(files)) await writeFile(join(directory, "db", "migrations", name), text);
    return directory;
  }
  async function migrate(
    files: Record<string, string>,
    url: string,
    over: {
      river?: boolean;
      riverVersion?: number;
      lint?: "error" | "warn";
      lockTimeoutMs?: number;
      lockAttempts?: number;
      statementTimeoutMs?: number;
      waivers?: { file: string; rule: string; reason: string }[];
    } = {},
  ): ReturnType<typeof run<"migrate">> {
    return run(
      "migrate",
      {
        release,
        source: { kind: "tree", repository: await tree(files), digest: "tree-0123456789ab", path: "db/migrations" },
        river: false,
        lint: "off",
        lockTimeoutMs: 2000,
        lockAttempts: 1,
        statementTimeoutMs: 30_000,
        ...over,
      },
      { DATABASE_URL: url },
    );
  }
  const version = (database: string): Promise<string> =>
    harness.sql("SELECT version, dirty FROM schema_migrations", database);

  it("applies what is new, then nothing, and leaves a schema alone that is ahead", async () => {
    const url = await harness.database("up");
    const first = await migrate(good, url, { river: true });
    expect(first.stderr).toContain("River's tables from version 0 to");
    expect(first.result).toMatchObject({ from: null, to: 2, expected: 2, applied: ["1_a.up.sql", "2_b.up.sql"] });
    expect((await migrate(good, url)).result).toMatchObject({ from: 2, to: 2, expected: 2, applied: [] });
    const older = await migrate({ "1_a.up.sql": "boom" }, url);
    expect(older.stderr).toContain("the schema is ahead of v1.0.0");
    expect(older.result).toMatchObject({ from: 2, to: 2, expected: 1, applied: [] });
    const none = await migrate({}, url);
    expect([none.exitCode, none.stderr]).toEqual([
      1,
      expect.stringContaining(
        "v1.0.0 has no migrations in db/migrations, but the database is at version 2. Nothing was changed",
      ),
    ]);
    const wrong = await migrate(
      { "V1__a.sql": "CREATE TABLE x ();", "notes.txt": "" },
      await harness.database("wrong"),
    );
    expect([wrong.exitCode, wrong.stderr]).toEqual([
      1,
      expect.stringContaining(
        "db/migrations has none of golang-migrate's files (such as 000001_name.up.sql), but V1__a.sql, notes.txt",
      ),
    ]);
    expect((await migrate({ "README.md": "" }, harness.url("wrong"))).result).toMatchObject({
      from: null,
      to: null,
      expected: null,
    });
  });

  it("brings River's tables to the version that the release's River has, and never back", async () => {
    const url = await harness.database("jobs");
    const tables = (): Promise<string> =>
      harness.sql(
        "SELECT max(version), to_regclass('river_client') IS NOT NULL, to_regclass('river_notification') IS NOT NULL FROM river_migration WHERE line = 'main'",
        "jobs",
      );
    const older = await migrate(good, url, { river: true, riverVersion: 6 });
    expect(older.stderr).toContain("River's tables from version 0 to 6");
    expect(await tables()).toBe("6|t|f");
    expect((await migrate(good, url, { river: true, riverVersion: 6 })).stderr).toContain(
      "River's tables are at version 6",
    );
    const unknown = await migrate(good, url, { river: true, riverVersion: 99 });
    expect([unknown.exitCode, unknown.stderr]).toEqual([
      1,
      expect.stringContaining("River's tables can't be brought to version 99, which this project's River doesn't have"),
    ]);
    expect((await migrate(good, url, { river: true })).stderr).toContain("River's tables from version 6 to 8");
    expect(await tables()).toBe("8|f|t");
    expect((await migrate(good, url, { river: true, riverVersion: 6 })).stderr).toContain(
      "River's tables are at version 8, which is newer than 6, and stay as they are",
    );
    expect(await tables()).toBe("8|f|t");
  });

  it("never lets River's own migrations wait for a lock for long, and has it in the end", async () => {
    const url = await harness.database("busyjobs");
    await migrate(good, url, { river: true, riverVersion: 6 });
    const holder = harness
      .sql(
        "BEGIN; LOCK TABLE river_job IN ACCESS SHARE MODE; LOCK TABLE river_client IN ACCESS SHARE MODE; SELECT pg_sleep(60); COMMIT",
        "busyjobs",
      )
      .catch(() => undefined);
    await eventually(
      "the lock is held",
      async () =>
        (await harness.sql("SELECT count(*) FROM pg_locks WHERE relation = 'river_client'::regclass", "busyjobs")) !==
        "0",
    );
    const refused = await migrate(good, url, { river: true, lockTimeoutMs: 500, lockAttempts: 2 });
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain(
      "River's tables: a lock was not to be had within 0.5 s, and was given up so that nobody waits behind it; attempt 2 of 2 in 2 s",
    );
    expect(refused.stderr).toMatch(/River's tables were not migrated: .*canceling statement due to lock timeout/);
    expect(refused.stderr).toContain("→ a transaction holds the table: SELECT pid");
    await harness.sql(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()",
    );
    await holder;
    expect((await migrate(good, url, { river: true, lockTimeoutMs: 500 })).stderr).toContain(
      "River's tables from version 6 to 8",
    );
  });

  it("rolls a failing file back as a whole, keeps those before it, and goes on once it is corrected", async () => {
    const url = await harness.database("failing");
    const bad = {
      ...good,
      "3_c.up.sql": "CREATE TABLE c (id int);\nINSERT INTO nowhere VALUES (1);",
      "4_d.up.sql": "CREATE TABLE d ();",
    };
    const { exitCode, stderr } = await migrate(bad, url);
    expect(exitCode).toBe(1);
    expect(stderr).toContain(
      'migration 3_c.up.sql, line 2 (file 3 of 4) failed: ERROR: relation "nowhere" does not exist (SQLSTATE 42P01). It was rolled back as a whole; the schema is at version 2 and clean, with 2 new files applied.',
    );
    expect(await version("failing")).toBe("2|f");
    expect(await harness.sql("SELECT to_regclass('c') IS NULL", "failing")).toBe("t");
    const corrected = await migrate({ ...bad, "3_c.up.sql": "CREATE TABLE c (id int);" }, url);
    expect(corrected.result).toMatchObject({ from: 2, to: 4, applied: ["3_c.up.sql", "4_d.up.sql"] });
  });

  it("is told what opens an extension's table, before anything changes where nothing has run yet, and where a file fails", async () => {
    await harness.sql("CREATE ROLE mapper LOGIN PASSWORD 'mapper-password'");
    await harness.sql("CREATE DATABASE maps OWNER mapper");
    await harness.sql("CREATE EXTENSION postgis", "maps");
    const url = harness.url("maps", { name: "mapper", password: "mapper-password" });
    const database = (extensions: string[]): ReturnType<typeof run<"database">> =>
      run("database", { release, extensions, superuser: "warn" }, { DATABASE_URL: url, MIGRATION_DATABASE_URL: url });
    const grant = 'as a superuser of maps: GRANT SELECT, INSERT, UPDATE, DELETE ON public.spatial_ref_sys TO "mapper";';
    const looked = await database(["postgis"]);
    expect([looked.exitCode, looked.stderr]).toEqual([
      1,
      expect.stringContaining(
        "the role mapper may not write to public.spatial_ref_sys, of an extension. Nothing was changed",
      ),
    ]);
    expect(looked.stderr).toContain(`${grant} (or leave the extension out of togather:database.extensions)`);
    expect((await database([])).exitCode).toBe(0);

    const own = { "1_a.up.sql": "CREATE TABLE a (id int);" };
    const more = {
      ...own,
      "2_place.up.sql":
        "INSERT INTO spatial_ref_sys (srid, auth_name, auth_srid, srtext, proj4text) VALUES (990001, 'own', 1, '', '') ON CONFLICT DO NOTHING;",
    };
    expect((await migrate(own, url)).exitCode).toBe(0);
    const refused = await migrate(more, url);
    expect(refused.stderr).toMatch(/2_place\.up\.sql.* failed: ERROR: permission denied for table spatial_ref_sys/);
    expect(refused.stderr).toContain(
      'as a superuser of the database maps: GRANT SELECT, INSERT, UPDATE, DELETE ON public.spatial_ref_sys TO "mapper"; then run the same command again',
    );
    expect(refused.stderr).not.toContain("correct the file");
    // A database that has migrated without the right goes on.
    const warned = await database(["postgis"]);
    expect([warned.exitCode, warned.stderr]).toEqual([
      0,
      expect.stringMatching(/WARN .*may not write to public\.spatial_ref_sys/),
    ]);

    await harness.sql(grant.slice(grant.indexOf("GRANT")), "maps");
    const opened = await database(["postgis"]);
    expect([opened.exitCode, opened.stderr]).toEqual([0, expect.not.stringContaining("spatial_ref_sys")]);
    expect((await migrate(more, url)).result).toMatchObject({ to: 2 });
    expect(await harness.sql("SELECT count(*) FROM spatial_ref_sys WHERE srid = 990001", "maps")).toBe("1");
  });

  it("is told beforehand where there is no room for its connections", async () => {
    await harness.sql("CREATE ROLE few LOGIN PASSWORD 'few-4711'; CREATE ROLE few_app LOGIN PASSWORD 'few-4711'");
    await harness.sql("CREATE DATABASE few OWNER few");
    await harness.sql("GRANT ALL ON SCHEMA public TO few", "few");
    const url = (name: string): string => harness.url("few", { name, password: "few-4711" });
    const look = (pool?: number): ReturnType<typeof run<"database">> =>
      run(
        "database",
        { release, extensions: [], superuser: "error", ...(pool === undefined ? {} : { pool }) },
        { DATABASE_URL: url("few_app"), MIGRATION_DATABASE_URL: url("few") },
      );
    expect((await look(20)).stderr).not.toMatch(/connections|CONNECTION LIMIT/);
    const little = await look(50);
    expect(little.exitCode, little.stderr).toBe(0);
    expect(little.stderr).toMatch(
      /WARN .*max_connections is 100, of which 3 are kept for superusers.* 150 \(three times the server's pool of 50\) and 20 .*\n.*raise max_connections .* to 17\d or more/,
    );
    await harness.sql("ALTER ROLE few_app CONNECTION LIMIT 1; ALTER ROLE few CONNECTION LIMIT 1");
    const refused = await look();
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toMatch(
      /can't be used: the role few_app has a CONNECTION LIMIT of 1: a release takes 2 of them at least; the role few has a CONNECTION LIMIT of 1: .*Nothing was changed\n.*ALTER ROLE "few_app" CONNECTION LIMIT -1;/,
    );
    // It is true: one connection is not enough to migrate; two are.
    expect((await migrate(good, url("few"))).stderr).toMatch(/too many connections for role "few"/);
    await harness.sql("ALTER ROLE few CONNECTION LIMIT 2");
    const done = await migrate(good, url("few"));
    expect(done.exitCode, done.stderr).toBe(0);
    // Used up by others, the way to see by whom is named.
    await harness.sql("ALTER ROLE few_app CONNECTION LIMIT 0");
    expect((await look()).stderr).toMatch(
      /too many connections for role "few_app"\n.*all connections that it may have are in use: SELECT/,
    );
  });

  it("leaves the very first file's failure as an empty schema", async () => {
    const url = await harness.database("firstfails");
    const { stderr } = await migrate({ "1_a.up.sql": "CREATE TABLE a (); SELECT 1/0;" }, url);
    expect(stderr).toContain("the schema is at version none and clean");
    expect((await migrate(good, url)).result).toMatchObject({ from: null, to: 2 });
  });

  it("says so when a failure may have left something behind, refuses to go on, and the command that it gives repairs it", async () => {
    const url = await harness.database("dirty");
    await migrate(good, url);
    const halves = {
      ...good,
      "3_c.up.sql": "BEGIN;\nCREATE TABLE c (id int);\nEND;\nALTER TABLE nowhere ADD COLUMN d int;",
    };
    const failed = await migrate(halves, url);
    expect(failed.exitCode).toBe(1);
    expect(failed.stderr).toContain(
      "may not have been rolled back (it holds statements that can't be part of a transaction)",
    );
    expect(await version("dirty")).toBe("3|t");

    const refused = await migrate(halves, url);
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain("schema version 3 is dirty: 3_c.up.sql failed half-way");
    const repair = /if nothing of it is there: psql "\$DATABASE_URL" -c "(.*)"/.exec(refused.stderr)?.[1];
    expect(repair).toBe("UPDATE schema_migrations SET version = 2, dirty = false");

    // The release before it needs nothing of this: a rollback is not held up.
    const back = await migrate(good, url);
    expect(back.stderr).toMatch(
      /WARN .*schema version 3 is dirty: a later release's migration failed half-way\. v1\.0\.0 needs version 2; the schema stays as it is/,
    );
    expect(back.result).toMatchObject({ from: 3, to: 3, expected: 2, applied: [] });

    await harness.sql(`DROP TABLE c`, "dirty");
    await harness.sql(repair ?? "", "dirty");
    expect((await migrate({ ...halves, "3_c.up.sql": "CREATE TABLE c (id int);" }, url)).result).toMatchObject({
      from: 2,
      to: 3,
    });
  });

  /** A transaction of somebody else on the table a, for so many seconds. */
  async function report(database: string, seconds: number): Promise<{ end: () => Promise<void> }> {
    const holder = harness
      .sql(
        `BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM a; SELECT pg_sleep(${seconds}); COMMIT`,
        database,
      )
      .catch(() => undefined);
    await eventually(
      "the report runs",
      async () =>
        (await harness.sql(
          "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND state = 'active' AND pid <> pg_backend_pid()",
          database,
        )) !== "0",
    );
    return {
      end: async () => {
        await harness.sql(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()",
          database,
        );
        await holder;
      },
    };
  }
  const indexes = (database: string): Promise<string> =>
    harness.sql(
      "SELECT string_agg(indexrelid::regclass || ' ' || indisvalid, ',' ORDER BY 1) FROM pg_index WHERE indrelid = 'b'::regclass",
      database,
    );

  it("lets a statement wait for other tables' transactions that holds up nobody while it waits", async () => {
    const url = await harness.database("patient");
    await migrate({ ...good, "3_c.up.sql": "ALTER TABLE b ADD CONSTRAINT positive CHECK (id > 0) NOT VALID;" }, url);
    const more = {
      ...good,
      "3_c.up.sql": "",
      "4_d.up.sql": "CREATE INDEX CONCURRENTLY b_id ON b (id);",
      "5_e.up.sql": "ALTER TABLE b VALIDATE CONSTRAINT positive;",
      "6_f.up.sql": "DROP INDEX CONCURRENTLY b_id;",
    };
    const other = await report("patient", 4);
    const { exitCode, stderr, result } = await migrate(more, url, { lockTimeoutMs: 300 });
    await other.end();
    expect(exitCode, stderr).toBe(0);
    expect(result).toMatchObject({ from: 3, to: 6, applied: ["4_d.up.sql", "5_e.up.sql", "6_f.up.sql"] });
    expect(await indexes("patient")).toBe("");
  });

  it("cleans up what CREATE INDEX CONCURRENTLY leaves when it fails, and runs the file again", async () => {
    const url = await harness.database("leftover");
    await migrate(good, url);
    await harness.sql(
      "INSERT INTO b VALUES (1); CREATE TABLE old (id int); INSERT INTO old VALUES (1), (1)",
      "leftover",
    );
    // Somebody else's, from long ago: not this file's to drop.
    await harness.sql("CREATE UNIQUE INDEX CONCURRENTLY others ON old (id)", "leftover").catch(() => undefined);
    const unique = { ...good, "3_c.up.sql": "CREATE UNIQUE INDEX CONCURRENTLY b_once ON b (id);" };
    const twice = await migrate(unique, url);
    expect(twice.exitCode).toBe(1);
    expect(twice.stderr).toMatch(
      /migration 3_c\.up\.sql.* failed: .*\(SQLSTATE 23505\)\. The invalid index that it left, "b_once", was dropped; the schema is at version 2 and clean/,
    );
    expect(await version("leftover")).toBe("2|f");
    expect(await indexes("leftover")).toBe("");
    expect(await harness.sql("SELECT count(*) FROM pg_class WHERE relname = 'others'", "leftover")).toBe("1");

    await harness.sql("DELETE FROM b", "leftover");
    const other = await report("leftover", 60);
    const limited = await migrate(unique, url, { statementTimeoutMs: 1_000, lockAttempts: 20 });
    expect(limited.exitCode).toBe(1);
    expect(limited.stderr).toContain("attempt 2 of 2 in 2 s");
    expect(limited.stderr).toContain("→ a transaction is open all the while: SELECT pid");
    expect([await version("leftover"), await indexes("leftover")]).toEqual(["2|f", ""]);
    await other.end();
    expect((await migrate(unique, url)).result).toMatchObject({ from: 2, to: 3 });
    expect(await indexes("leftover")).toBe("b_once true");
  });

  it("doesn't take an invalid index for one that is there", async () => {
    const url = await harness.database("trap");
    await migrate(good, url);
    await harness.sql("INSERT INTO b VALUES (1)", "trap");
    await harness.sql("CREATE UNIQUE INDEX CONCURRENTLY b_once ON b (id)", "trap").catch(() => undefined);
    await harness.sql("DELETE FROM b", "trap");
    const repeated = {
      ...good,
      "3_c.up.sql": "SELECT 1",
      "4_d.up.sql": "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS b_once ON b (id);",
    };
    const refused = await migrate(repeated, url);
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain(
      '4_d.up.sql makes the index "b_once" IF NOT EXISTS, but an interrupted build has left an invalid one of that name: the file would pass over it. Nothing was changed',
    );
    const repair = /→ (DROP INDEX CONCURRENTLY .*?;) then run the same command again/.exec(refused.stderr)?.[1];
    expect(await version("trap")).toBe("2|f");
    await harness.sql(repair ?? "", "trap");
    expect((await migrate(repeated, url)).result).toMatchObject({ to: 4 });
    expect(await indexes("trap")).toBe("b_once true");
  });

  it("opens a schema of the release's own to the role that serves", async () => {
    await harness.sql(
      "CREATE ROLE maker LOGIN PASSWORD 'maker-password'; CREATE ROLE server LOGIN PASSWORD 'server-password'",
    );
    await harness.sql("CREATE DATABASE schemas OWNER maker");
    await harness.sql(
      "ALTER DEFAULT PRIVILEGES FOR ROLE maker IN SCHEMA public GRANT SELECT, INSERT ON TABLES TO server; ALTER DEFAULT PRIVILEGES FOR ROLE maker IN SCHEMA public GRANT USAGE ON SEQUENCES TO server",
      "schemas",
    );
    const url = harness.url("schemas", { name: "maker", password: "maker-password" });
    const own = {
      "1_a.up.sql":
        'CREATE SCHEMA "own Schema"; CREATE TABLE "own Schema".a (id serial); CREATE SCHEMA closed; REVOKE ALL ON SCHEMA closed FROM PUBLIC; GRANT USAGE ON SCHEMA closed TO maker; CREATE TABLE closed.a (id int);',
    };
    const first = await migrate(own, url);
    expect(first.stderr).toContain("migrate: own Schema: server gets the rights there that it has in public");
    expect((await migrate({ ...own, "2_b.up.sql": 'CREATE TABLE "own Schema".b (id int);' }, url)).exitCode).toBe(0);
    const as = async (statement: string): Promise<string> =>
      harness
        .sql(`SET ROLE server; ${statement}`, "schemas")
        .catch((error: unknown) => String((error as { stderr?: string }).stderr));
    expect(
      await as('INSERT INTO "own Schema".a DEFAULT VALUES; INSERT INTO "own Schema".b VALUES (1); SELECT 1'),
    ).toContain("1");
    expect(await as('DELETE FROM "own Schema".b')).toContain("permission denied");
    // About this one the migration has said itself who may.
    expect(await as("SELECT * FROM closed.a")).toContain("permission denied for schema closed");
  });

  it("refuses a file that golang-migrate would pass over, and one that it can't go on from, before anything runs", async () => {
    const url = await harness.database("numbers");
    const feature = { ...good, "7_feature.up.sql": "CREATE TABLE feature ();" };
    expect((await migrate(feature, url)).result).toMatchObject({ from: null, to: 7 });
    // The release before it, whose files are all there.
    expect((await migrate(good, url)).result).toMatchObject({ from: 7, to: 7, expected: 2 });
    const hotfix = { ...good, "6_hotfix.up.sql": "CREATE TABLE hotfix ();" };
    const late = await migrate(hotfix, url);
    expect([late.exitCode, late.stderr]).toEqual([
      1,
      expect.stringContaining(
        "6_hotfix.up.sql was never applied, and has a number that the schema is past: it is at version 7, and golang-migrate would pass over it for good. Nothing was changed",
      ),
    ]);
    expect(late.stderr).toContain(
      "→ give it a number above 7 (git mv 6_hotfix.up.sql 8_hotfix.up.sql, and its .down.sql)",
    );
    const merged = await migrate({ ...feature, ...hotfix, "8_more.up.sql": "CREATE TABLE more ();" }, url);
    expect(merged.stderr).toContain("6_hotfix.up.sql was never applied");
    const lost = await migrate({ ...good, "8_hotfix.up.sql": "CREATE TABLE hotfix ();" }, url);
    expect([lost.exitCode, lost.stderr]).toEqual([
      1,
      expect.stringContaining(
        "the schema is at version 7, and v1.0.0 has no migration of that number (below it: 2_b.up.sql; above it: 8_hotfix.up.sql)",
      ),
    ]);
    expect(await version("numbers")).toBe("7|f");
    expect((await migrate({ ...feature, "8_hotfix.up.sql": "CREATE TABLE hotfix ();" }, url)).result).toMatchObject({
      from: 7,
      to: 8,
      applied: ["8_hotfix.up.sql"],
    });
  });

  it("refuses a file that golang-migrate would pass over for its name", async () => {
    const url = await harness.database("names");
    const files = { ...good, "3_c.UP.sql": "CREATE TABLE c (id int);", "4-d.up.sql": "CREATE TABLE d (id int);" };
    const { exitCode, stderr } = await migrate(files, url);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/3_c\.UP\.sql, 4-d\.up\.sql would never be applied: .*Nothing was changed/);
    expect(stderr).toMatch(/rename them, .*togather:migrations\.allow .*\{ file: 3_c\.UP\.sql, rule: not-read/);
    const allowed = await migrate(files, url, {
      waivers: ["3_c.UP.sql", "4-d.up.sql"].map((file) => ({ file, rule: "not-read", reason: "a draft" })),
    });
    expect(allowed.exitCode, allowed.stderr).toBe(0);
    expect(await version("names")).toBe("2|f");
  });

  it("runs each file in a session of its own: what one sets is not there for the next", async () => {
    const url = await harness.database("sessions");
    const { exitCode, stderr } = await migrate(
      {
        "1_a.up.sql": "SELECT pg_catalog.set_config('search_path', '', false); CREATE TABLE public.a (id int);",
        "2_b.up.sql": "CREATE TABLE b (id int);",
      },
      url,
    );
    expect(exitCode, stderr).toBe(0);
    expect(await harness.sql("SELECT to_regclass('public.b') IS NOT NULL", "sessions")).toBe("t");
  });

  it("notes a file that went through itself, where golang-migrate can't", async () => {
    const url = await harness.database("noted");
    await migrate(good, url);
    // A backup begins while the file runs, and reads golang-migrate's table for longer than a lock may be waited for.
    const running = migrate({ ...good, "3_c.up.sql": "CREATE TABLE c (id int); SELECT pg_sleep(3);" }, url, {
      lockTimeoutMs: 500,
    });
    await eventually(
      "the file runs",
      async () =>
        (await harness.sql(
          "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3)%' AND pid <> pg_backend_pid()",
          "noted",
        )) === "1",
    );
    const backup = harness.sql(
      "BEGIN; LOCK TABLE schema_migrations IN ACCESS SHARE MODE; SELECT pg_sleep(6); COMMIT",
      "noted",
    );
    const { exitCode, stderr } = await running;
    expect(exitCode, stderr).toBe(0);
    expect(stderr).toMatch(
      /3_c\.up\.sql was applied, but golang-migrate could not note it in schema_migrations \(.*lock timeout.*: somebody holds that table, a backup for example\. It is noted now/,
    );
    expect(await version("noted")).toBe("3|f");
    await backup;

    // golang-migrate's session keeps the changes that a file leaves.
    for (const [number, rest] of [
      [4, "SET default_transaction_read_only = on;"],
      [5, "GRANT ALL ON SCHEMA public TO pg_monitor; SET ROLE pg_monitor;"],
    ] as const) {
      const file = `${number}_session.up.sql`;
      const done = await migrate(
        { ...good, "3_c.up.sql": "", "4_session.up.sql": "", [file]: `CREATE TABLE t${number} (id int); ${rest}` },
        url,
      );
      expect(done.exitCode, done.stderr).toBe(0);
      expect(done.stderr).toMatch(
        /could not note it in schema_migrations .*the file leaves its session changed \(SET ROLE/,
      );
      expect(await version("noted")).toBe(`${number}|f`);
      expect(await harness.sql(`SELECT to_regclass('t${number}') IS NOT NULL`, "noted")).toBe("t");
    }
  });

  it("gives up on a table that somebody holds, and has its password on no command line meanwhile", async () => {
    const url = await harness.database("locked");
    await migrate(good, url);
    const holder = harness
      .sql("BEGIN; LOCK TABLE b IN ACCESS SHARE MODE; SELECT pg_sleep(60)", "locked")
      .catch(() => undefined);
    await eventually(
      "the lock is held",
      async () => (await harness.sql("SELECT count(*) FROM pg_locks WHERE relation = 'b'::regclass", "locked")) !== "0",
    );
    const running = migrate({ ...good, "3_c.up.sql": "ALTER TABLE b ADD COLUMN c int;" }, url);
    await eventually(
      "migrate waits",
      async () =>
        (await harness.sql(
          "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE 'togather-migrate%'",
        )) !== "0",
    );
    const lines = await harness.commandLines();
    expect(lines).toContain("pgx5:///locked");
    expect(lines).not.toContain("c4n4ry");
    const { exitCode, stderr } = await running;
    expect(stderr).toContain("lock timeout");
    expect(stderr).toContain("rolled back as a whole");
    expect(stderr).toContain("→ a transaction holds the table: SELECT pid");
    expect(exitCode).toBe(1);
    await harness.sql(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()",
    );
    await holder;
  });

  it("never holds up the live server behind a lock that it waits for, and has it in the end", async () => {
    const url = await harness.database("busy");
    await migrate(good, url);
    // A report that runs for six seconds, and the live server's short questions beside it.
    const holder = harness.sql("BEGIN; SELECT count(*) FROM b; SELECT pg_sleep(6); COMMIT", "busy");
    await eventually(
      "the lock is held",
      async () => (await harness.sql("SELECT count(*) FROM pg_locks WHERE relation = 'b'::regclass", "busy")) !== "0",
    );
    const client = new pg.Client(url);
    await client.connect();
    const live = { running: true, longestMs: 0, asked: 0 };
    const asking = (async () => {
      while (live.running) {
        const started = performance.now();
        await client.query("SELECT count(*) FROM b");
        live.longestMs = Math.max(live.longestMs, performance.now() - started);
        live.asked += 1;
        await sleep(10);
      }
    })();
    const { exitCode, stderr, result } = await migrate(
      { ...good, "3_c.up.sql": "ALTER TABLE b ADD COLUMN c int;" },
      url,
      { lockTimeoutMs: 500, lockAttempts: 20 },
    );
    live.running = false;
    await asking;
    await client.end();
    await holder;
    expect(exitCode, stderr).toBe(0);
    expect(result).toMatchObject({ from: 2, to: 3, applied: ["3_c.up.sql"] });
    expect(stderr).toMatch(
      /a lock was not to be had within 0\.5 s, and was given up so that nobody waits behind it; attempt 2 of 20 in 2 s/,
    );
    expect(live.asked).toBeGreaterThan(50);
    expect(live.longestMs).toBeLessThan(2_000);
    expect(await version("busy")).toBe("3|f");
  });

  it("lets one migration after the other, and finishes the file at hand when it is interrupted", async () => {
    const url = await harness.database("serial");
    const slow = {
      "1_a.up.sql": "CREATE TABLE a (id int); SELECT pg_advisory_lock(42); SELECT pg_advisory_unlock(42);",
      "2_b.up.sql": "CREATE TABLE b (id int);",
    };
    const source = {
      kind: "tree",
      repository: await tree(slow),
      digest: "tree-0123456789ab",
      path: "db/migrations",
    } as const;
    // The first file takes as long as this lock is held.
    const holder = harness.sql("SELECT pg_advisory_lock(42), pg_sleep(120)", "serial").catch(() => undefined);
    await eventually(
      "the lock is held",
      async () =>
        (await harness.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42")) === "1",
    );
    const first = harness.start(
      "migrate",
      {
        release,
        source,
        river: false,
        lint: "off",
        lockTimeoutMs: 60_000,
        lockAttempts: 1,
        statementTimeoutMs: 60_000,
      },
      { DATABASE_URL: url },
    );
    await eventually(
      "the first file is applied",
      async () =>
        (await harness.sql(
          "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted",
        )) === "1",
    );
    const second = migrate(slow, url);
    await eventually(
      "the second one waits",
      async () =>
        (await harness.sql(
          "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'togather-migrate%' AND datname = 'serial'",
        )) >= "3",
    );
    first.kill("SIGTERM");
    await eventually("the first one has heard of it", async () =>
      (await harness.written()).includes("stopping after the file"),
    );
    await harness.sql(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND pid <> pg_backend_pid()",
    );
    await holder;
    const interrupted = await first;
    expect(interrupted.exitCode).toBe(130);
    expect(interrupted.stderr).toContain("stopping after the file");
    const waited = await second;
    expect(waited.stderr).toContain("another migration of this database runs, waiting for it: togather-migrate v1.0.0");
    expect(waited.result).toMatchObject({ from: 1, to: 2, applied: ["2_b.up.sql"] });
  });

  it("stops at what the lint finds in new files, and applies what is allowed, or only warned of", async () => {
    const url = await harness.database("lint");
    // Nothing can be harmed yet: an old file is not held against anybody.
    await migrate({ ...good, "2_b.up.sql": "CREATE TABLE b (id int); DO 'BEGIN END'; LOCK TABLE pg_class;" }, url, {
      lint: "error",
    });
    const drop = { ...good, "3_c.up.sql": "CREATE TABLE c (id int);", "4_d.up.sql": "-- gone\nDROP TABLE b;" };
    const refused = await migrate(drop, url, { lint: "error" });
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain(
      "the lint of the migrations that were to be applied has found an error; none of them was applied:\n  4_d.up.sql:2: drop-table: table b: ",
    );
    expect(refused.stderr).not.toContain("2_b.up.sql");
    expect(await version("lint")).toBe("2|f");
    const warned = await migrate({ ...drop, "4_d.up.sql": "TRUNCATE b;" }, url, { lint: "warn" });
    expect(warned.stderr).toContain("4_d.up.sql:1: truncate: table b: ");
    expect(warned.result).toMatchObject({ from: 2, to: 4 });
    const allowed = await migrate(
      { ...drop, "5_e.up.sql": "-- togather:allow drop-table nothing uses it any more\nDROP TABLE b;" },
      url,
      { lint: "error" },
    );
    expect(allowed.result).toMatchObject({ from: 4, to: 5 });
  });

  it("reads files of a git commit and of an image", async () => {
    const url = await harness.database("sources");
    const repository = await tree(good);
    const git = (...args: string[]): Promise<{ stdout: string }> =>
      execa("git", ["-C", repository, "-c", "user.name=t", "-c", "user.email=t@example.org", ...args]);
    await git("init", "--quiet");
    await git("add", ".");
    await git("commit", "--quiet", "--message=one");
    const commit = (await git("rev-parse", "HEAD")).stdout;
    // The commit counts, not what lies in the working tree.
    await writeFile(join(repository, "db", "migrations", "1_a.up.sql"), "boom");
    const limits = {
      river: false,
      lint: "warn",
      lockTimeoutMs: 2000,
      lockAttempts: 1,
      statementTimeoutMs: 30_000,
    } as const;
    const fromCommit = await run(
      "migrate",
      { release, source: { kind: "commit", repository, commit, path: "db/migrations" }, ...limits },
      { DATABASE_URL: url },
    );
    expect(fromCommit.result).toMatchObject({ to: 2 });

    const tag = `${harness.name}:migrations`;
    const build = await run("build", {
      source: {
        kind: "tree",
        repository: await tree({
          ...good,
          "3_c.up.sql": "CREATE TABLE c (id int);",
          "../Dockerfile": "FROM scratch\nCOPY migrations /srv/migrations\n",
        }),
        paths: ["db"],
        digest: "tree-1",
      },
      dockerfile: "db/Dockerfile",
      tag,
    });
    // A context of db/ alone: its COPY paths begin there.
    expect(build.exitCode).toBe(1);
    expect(build.stderr).toMatch(/building .* failed/);
    const built = await run("build", {
      source: {
        kind: "tree",
        repository: await tree({
          ...good,
          "3_c.up.sql": "CREATE TABLE c (id int);",
          "../Dockerfile": "FROM scratch\nCOPY db/migrations /srv/migrations\n",
        }),
        paths: ["db"],
        digest: "tree-1",
      },
      dockerfile: "db/Dockerfile",
      tag,
    });
    expect(built.exitCode).toBe(0);
    const fromImage = await run(
      "migrate",
      { release, source: { kind: "image", image: tag, path: "/srv/migrations" }, ...limits },
      { DATABASE_URL: url },
    );
    expect(fromImage.result).toMatchObject({ from: 2, to: 3, applied: ["3_c.up.sql"] });
    await docker("rmi", "--force", tag);

    const missing = await run(
      "migrate",
      {
        release,
        source: {
          kind: "commit",
          repository,
          commit: "0123456789abcdef0123456789abcdef01234567",
          path: "db/migrations",
        },
        ...limits,
      },
      { DATABASE_URL: url },
    );
    expect(missing.exitCode).toBe(1);
    expect(missing.stderr).toContain("commit 0123456789abcdef0123456789abcdef01234567 is not in");
  });
});

describe("gate", () => {
  const slotName = `togather-${harness.name}-blue`;
  const flat = {
    status: "healthy",
    version: "v1.0.0",
    database: "connected",
    migrations: "up-to-date",
    jobs: "operational",
    uptime: 1,
  };
  const nested = {
    status: "degraded",
    version: "dev",
    git_commit: release.commit,
    slot: "blue",
    checks: {
      database: { status: "pass" },
      migrations: { status: "pass" },
      job_queue: { status: "warn", message: "no worker yet" },
    },
  };
  const answer = (body: object, delayMs = 0): string =>
    `setTimeout(() => require("node:http").createServer((q, s) => s.end(${JSON.stringify(JSON.stringify(body))})).listen(8080), ${delayMs})`;

  async function gate(
    script: string,
    over: Partial<Parameters<typeof run<"gate">>[1]> = {},
  ): ReturnType<typeof run<"gate">> {
    await execa("docker", ["rm", "--force", slotName], { reject: false });
    const containerId = await docker(
      "run",
      "--detach",
      `--name=${slotName}`,
      `--network=${harness.network}`,
      `--ip=${harness.address(10)}`,
      "--entrypoint=node",
      bundledImageTag("ops"),
      "-e",
      script,
    );
    return run(
      "gate",
      {
        slot: "blue",
        release,
        containerName: slotName,
        containerId,
        url: `http://${harness.address(10)}:8080`,
        healthPath: "/health",
        retries: 2,
        intervalSeconds: 0.2,
        graceSeconds: 15,
        expectedMigration: 2,
        whenStopped: "start",
        ...over,
      },
      { DATABASE_URL: harness.url("up") },
    );
  }

  it("opens for a server that starts slowly, in the reference's shape", async () => {
    const { exitCode, stderr, result } = await gate(answer(flat, 1500));
    expect(stderr).not.toContain("ERROR");
    expect(exitCode).toBe(0);
    expect(result.checks).toEqual({
      database: "SELECT 1",
      migrations: "schema version 2",
      http: "HTTP 200, v1.0.0",
      jobs: "River's tables answer",
    });
  });

  it("opens for the real server's shape, known by its commit, with a warning when degraded", async () => {
    const { exitCode, stderr } = await gate(answer(nested));
    expect(stderr).toMatch(/WARN .*passes the gate with a warning: .*no worker yet/);
    expect(exitCode).toBe(0);
  });

  it("stays closed for another version, and doesn't wait for the end", async () => {
    const { exitCode, stderr } = await gate(answer({ ...flat, version: "v0.9.0" }), { graceSeconds: 120 });
    expect(exitCode).toBe(1);
    expect(stderr).toContain(`answers as version v0.9.0, expected v1.0.0 (${release.commit})`);
  });

  it("doesn't wait for a schema that nobody changes any more, and lets the release pass that needs none of it", async () => {
    await harness.sql("UPDATE schema_migrations SET version = 3, dirty = true", "up");
    try {
      const started = Date.now();
      const refused = await gate(answer(flat), { graceSeconds: 120, expectedMigration: 3 });
      expect(refused.exitCode).toBe(1);
      expect(refused.stderr).toContain("schema version 3 is dirty: its migration failed half-way");
      expect(Date.now() - started).toBeLessThan(60_000);
      const older = await gate(answer(flat), { expectedMigration: 2 });
      expect([older.exitCode, older.stderr]).toEqual([
        0,
        expect.stringMatching(
          /WARN .*passes the gate with a warning: migrations: schema version 3 is dirty \(its migration failed half-way\), expected at least 2/,
        ),
      ]);
    } finally {
      await harness.sql("UPDATE schema_migrations SET version = 2, dirty = false", "up");
    }
  });

  it("tells how each check stands when nothing comes", async () => {
    const { exitCode, stderr } = await gate("setTimeout(() => {}, 1e6)", { graceSeconds: 0.5, expectedMigration: 99 });
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(
      /database +passed {2}SELECT 1\n +migrations FAILED {2}schema version 2, expected at least 99\n +http +FAILED {2}nothing listens yet \(connection refused\)\n +jobs +passed/,
    );
    expect(stderr).toMatch(/its migrations were not run: .* without --skip-migrations/);
  });

  it("tells how a server ended that the engine has started again", async () => {
    await execa("docker", ["rm", "--force", slotName], { reject: false });
    const containerId = await docker(
      "run",
      "--detach",
      "--restart=unless-stopped",
      `--name=${slotName}`,
      `--network=${harness.network}`,
      `--ip=${harness.address(10)}`,
      "--entrypoint=node",
      bundledImageTag("ops"),
      "-e",
      "setTimeout(() => process.exit(2), 4000)",
    );
    await eventually(
      "it runs again",
      async () =>
        (await docker("inspect", "--format={{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}", slotName)) ===
        "1 running 0",
    );
    const { exitCode, stderr } = await run(
      "gate",
      {
        slot: "blue",
        release,
        containerName: slotName,
        containerId,
        url: `http://${harness.address(10)}:8080`,
        healthPath: "/health",
        retries: 2,
        intervalSeconds: 0.2,
        graceSeconds: 15,
        expectedMigration: 2,
        whenStopped: "start",
      },
      { DATABASE_URL: harness.url("up") },
    );
    await docker("rm", "--force", slotName);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/does not stay up: it was restarted 1 times, its server ended with exit code 2;/);
  });

  it("fails at once when the container exits, with its last words but not its secrets", async () => {
    await run("begin", { activeSlot: "blue", slots: { blue: release } });
    const started = Date.now();
    const { exitCode, stderr } = await gate(
      `console.log("starting"); console.error("bad config: password=slot-canary-99 " + ${JSON.stringify(harness.url())}); setTimeout(() => process.exit(7), 1500)`,
      { graceSeconds: 300 },
    );
    expect(exitCode).toBe(1);
    expect(Date.now() - started).toBeLessThan(60_000);
    expect(stderr).toContain(`${slotName} exited with code 7`);
    expect(stderr).toContain("bad config: password=***REDACTED***");
    expect(stderr).toContain(`docker logs ${slotName}`);
    expect(stderr).not.toContain("slot-canary-99");
    const current = await harness.readState<Current>("current.json");
    expect(current).toMatchObject({
      status: "failed",
      failed_phase: "gate",
      error: expect.stringContaining("exited with code 7") as unknown,
    });
  });
});

describe("task", () => {
  const canary = "task-canary-7f3Kq9";
  const volume = `togather-${harness.name}-router-files`;
  const container = `togather-${harness.name}-green`;
  const task = (script: string, timeoutMs = 60_000) => ({ name: "tidy-up", command: ["sh", "-c", script], timeoutMs });
  const request = { deploymentId: "20260101_000000_1a2b3c4", slot: "green", release, volume } as const;
  const left = async (): Promise<string> =>
    docker("ps", "--all", "--quiet", `--filter=name=^togather-${harness.name}-task$`);

  beforeAll(async () => {
    await docker("volume", "create", volume);
    // The slot's container need not run: with togather:standby stopped it may not.
    await docker(
      "create",
      `--name=${container}`,
      `--network=${harness.network}`,
      "--tmpfs=/scratch",
      "--env=DATABASE_URL=postgresql://app:role-canary-77@db/app",
      `--env=SMTP_PASSWORD=${canary.slice(0, 9)}`,
      `--env=JWT_SECRET=${canary}`,
      "--entrypoint=sleep",
      bundledImageTag("ops"),
      "600",
    );
  });
  afterAll(async () => {
    await docker("rm", "--force", container);
    await docker("volume", "rm", volume);
  });

  it("runs in a container like the slot's, whose secrets it has and does not tell, and leaves none", async () => {
    await run("begin", { activeSlot: "green", slots: { green: release } });
    const done = await run("task", {
      ...request,
      task: task(
        'echo "with $JWT_SECRET and $SMTP_PASSWORD"; echo to stderr >&2; touch /scratch/x && ! touch /x 2>/dev/null && echo hardened',
      ),
    });
    expect(done.exitCode, done.stderr).toBe(0);
    expect(done.result.skipped).toBeNull();
    expect(done.stderr).toContain("task tidy-up: with ***REDACTED*** and ***REDACTED***");
    expect(done.stderr).toContain("task tidy-up: to stderr");
    expect(done.stderr).toContain("task tidy-up: hardened");
    expect(await left()).toBe("");
    const log = await harness.written();
    expect(log).toContain("task tidy-up: with ***REDACTED***");
    expect(done.stdout + done.stderr + log).not.toContain(canary.slice(0, 9));
    expect((await harness.readState<Current>("current.json")).phases).toMatchObject([
      { phase: "task", slot: "green", status: "succeeded" },
    ]);
  });

  it("fails with what it printed last, when it takes too long, and where there is no such program", async () => {
    const failed = await run("task", { ...request, task: task("echo half way; exit 3") });
    expect(failed.exitCode).toBe(1);
    expect(failed.stderr).toMatch(
      /the task tidy-up ended with exit code 3, after [\d.]+ s, before the switch; traffic stays where it is\. Its last lines:\n {2}half way/,
    );
    expect(await harness.readState<Current>("current.json")).toMatchObject({ status: "failed", failed_phase: "task" });
    const late = await run("task", { ...request, task: task("echo begun; exec sleep 60", 2_000) });
    expect(late.stderr).toMatch(/the task tidy-up was stopped: it took longer than its timeout, 2\.0 s/);
    const none = await run("task", {
      ...request,
      task: { name: "none", command: ["/no/such/program"], timeoutMs: 60_000 },
    });
    expect(none.exitCode).toBe(1);
    expect(none.stderr).toMatch(/\/no\/such\/program/);
    expect(await left()).toBe("");
  });

  it("is not run once its deployment is over, nor for a release that has served", async () => {
    const served = JSON.stringify({ slot: "blue", changedAt: "2026-01-01T00:00:00Z", served: { green: release } });
    await docker(
      "run",
      "--rm",
      `--volume=${volume}:/router`,
      "--entrypoint=sh",
      bundledImageTag("ops"),
      "-c",
      `mkdir -p /router/state && echo '${served}' > /router/state/slot.json`,
    );
    const skipped = await run("task", { ...request, task: task("exit 3") });
    expect(skipped.result, skipped.stderr).toEqual({ skipped: "v1.0.0 in green has served before", durationMs: 0 });
    await docker(
      "run",
      "--rm",
      `--volume=${volume}:/router`,
      "--entrypoint=rm",
      bundledImageTag("ops"),
      "/router/state/slot.json",
    );
    const { deployment_id: deploymentId } = await harness.readState<Current>("current.json");
    await run("record", { deploymentId, activeSlot: "green", release, slots: { green: release }, logRetention: 100 });
    expect((await run("task", { ...request, deploymentId, task: task("exit 3") })).result.skipped).toBe(
      `deployment ${deploymentId} is over: it is run with the next one`,
    );
  });

  it("ends with the step that runs it, and what a killed client has left makes room for the next", async () => {
    const running = harness.start("task", {
      ...request,
      task: task("trap 'exit 0' TERM; while :; do sleep 0.2; done"),
    });
    await eventually("the task", async () => (await left()) !== "");
    running.kill("SIGINT");
    expect((await running).exitCode).toBe(130);
    expect(await left()).toBe("");
    const killed = harness.start("task", { ...request, task: task("sleep 60") });
    await eventually("the task", async () => (await left()) !== "");
    killed.kill("SIGKILL");
    await killed;
    expect(await left()).not.toBe("");
    expect((await run("task", { ...request, task: task("echo again") })).stderr).toContain("task tidy-up: again");
    expect(await left()).toBe("");
  });
});

describe("build", () => {
  it("makes an image of a commit, once, with its labels and without what isn't in the commit", async () => {
    const repository = join(scratch, "repository");
    await mkdir(join(repository, "app"), { recursive: true });
    const git = (...args: string[]): Promise<{ stdout: string }> =>
      execa("git", ["-C", repository, "-c", "user.name=t", "-c", "user.email=t@example.org", ...args], {
        env: { GIT_COMMITTER_DATE: "2026-01-28T15:30:22+01:00" },
      });
    await writeFile(
      join(repository, "app", "Dockerfile"),
      "FROM scratch\nARG VERSION\nARG COMMIT\nARG CREATED\nARG TOLD\nCOPY app /app\nLABEL args=$VERSION/$COMMIT/$CREATED told=$TOLD\n",
    );
    await writeFile(join(repository, "app", "kept"), "committed");
    await git("init", "--quiet");
    await git("add", ".");
    await git("commit", "--quiet", "--message=one");
    const commit = (await git("rev-parse", "HEAD")).stdout;
    await writeFile(join(repository, "app", "kept"), "changed since");
    await writeFile(join(repository, "app", ".env"), "JWT_SECRET=x");

    const tag = `${harness.name}:${commit}`;
    const request = {
      source: { kind: "commit", repository, commit, paths: ["app"] },
      dockerfile: "app/Dockerfile",
      tag,
      release: { version: "v1.0.0", commit },
    } as const;
    const first = await run("build", request);
    expect(first.stderr).toContain("Step 1/");
    expect(first.result).toMatchObject({ tag, built: true, imageId: expect.stringMatching(/^sha256:/) as unknown });
    const labels = JSON.parse(await docker("image", "inspect", "--format", "{{json .Config.Labels}}", tag)) as Record<
      string,
      string
    >;
    expect(labels).toMatchObject({
      args: `v1.0.0/${commit}/2026-01-28T14:30:22Z`,
      "org.opencontainers.image.version": "v1.0.0",
      "org.opencontainers.image.revision": commit,
      "org.opencontainers.image.created": "2026-01-28T14:30:22Z",
      "org.togather.source": expect.stringContaining(commit) as unknown,
    });
    const taggedAt = (): Promise<string> => docker("image", "inspect", "--format", "{{.Metadata.LastTagTime}}", tag);
    const before = await taggedAt();
    expect((await run("build", request)).result).toMatchObject({ built: false, imageId: first.result.imageId });
    // It counts as new again for a prune.
    expect(await taggedAt()).not.toBe(before);
    expect((await run("build", { ...request, release: { version: "v1.0.1", commit } })).result.built).toBe(true);
    // Another build argument makes another image of the same commit.
    const told = { ...request, arguments: { TOLD: "{version}:\\{version}:{created}:events.example.org" } };
    expect((await run("build", told)).result).toMatchObject({ tag, built: true });
    expect(await docker("image", "inspect", "--format", "{{.Config.Labels.told}}", tag)).toBe(
      "v1.0.0:{version}:2026-01-28T14:30:22Z:events.example.org",
    );
    expect((await run("build", told)).result.built).toBe(false);

    const container = await docker("create", tag, "none");
    const listing = await execa("sh", ["-c", `docker cp ${container}:/app - | tar -xO app/kept`]);
    expect(listing.stdout).toBe("committed");
    await docker("rm", container);
    await docker("rmi", "--force", tag);

    const shallow = join(scratch, "shallow");
    await git("commit", "--quiet", "--all", "--message=two");
    await execa("git", ["clone", "--quiet", "--depth=1", `file://${repository}`, shallow]);
    const missing = await run("build", { ...request, source: { ...request.source, repository: shallow } });
    expect(missing.exitCode).toBe(1);
    expect(missing.stderr).toContain("fetch --unshallow");
  });

  it("leaves one image for each stage on the Docker host, not one for each release", async () => {
    const directory = join(scratch, "stages");
    const tag = `${harness.name}:stages`;
    const stage = `${harness.name}-build:stage-1-app-Dockerfile`;
    const id = async (image: string): Promise<string> =>
      (await docker("image", "inspect", "--format", "{{.Id}}", image)).trim();
    await mkdir(join(directory, "app"), { recursive: true });
    await writeFile(
      join(directory, "app", "Dockerfile"),
      `FROM scratch AS build\nLABEL of=${harness.name}\nCOPY app/kept /kept\nFROM scratch\nCOPY --from=build /kept /kept\n`,
    );
    const buildOf = async (digest: string): Promise<string> => {
      await writeFile(join(directory, "app", "kept"), digest);
      expect(
        (
          await run("build", {
            source: { kind: "tree", repository: directory, paths: ["app"], digest },
            dockerfile: "app/Dockerfile",
            tag,
          })
        ).result.built,
      ).toBe(true);
      return id(stage);
    };
    try {
      const first = await buildOf("one");
      const second = await buildOf("two");
      expect(second).not.toBe(first);
      await expect(id(first)).rejects.toThrow(/No such image/i);
      // The stage itself hasn't changed: it is what the cache gives again.
      await docker("rmi", tag);
      expect(await buildOf("two")).toBe(second);
      const left = await docker(
        "image",
        "ls",
        "--quiet",
        "--filter=dangling=true",
        `--filter=label=of=${harness.name}`,
      );
      expect(left).toBe("");
    } finally {
      await execa("docker", ["rmi", tag, stage], { reject: false });
    }
  });
});

describe("secrets", () => {
  it("are nowhere in what was printed and written", async () => {
    const everything = `${printed.join("\n")}\n${await harness.written()}`;
    expect(everything).toContain("deployment");
    for (const canary of [
      harness.password,
      encodeURIComponent(harness.password),
      "c4n4ry",
      "slot-canary-99",
      "role-canary-77",
    ])
      expect(everything).not.toContain(canary);
  });
});

describe("requests", () => {
  it("that make no sense are refused with what is wrong", async () => {
    const bad = await run("gate", { slot: "red" } as never);
    expect(bad.exitCode).toBe(1);
    expect(bad.stderr).toMatch(/slot: .*blue/);
    expect(bad.stderr).not.toContain("    at ");
    const network = await execa(process.execPath, ["ops/main.ts", "discard"], {
      env: {
        TOGATHER_REQUEST: JSON.stringify({
          contract: 1,
          name: harness.name,
          environment: "staging",
          stateLocation: `${harness.directory}/state`,
          logLocation: `${harness.directory}/logs`,
          network: "togather-no-such",
          database: null,
        }),
      },
      reject: false,
    });
    expect(network.stderr).toContain("the Docker network togather-no-such doesn't exist");
    expect(network.exitCode).toBe(1);
  });
});
