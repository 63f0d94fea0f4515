/** Proofs, rehearsals, the gate and copies that are killed, or out of room, at each kind of their writes, and then run again once, as they are. */
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { migrationPayload } from "../../ops/client/migrate.ts";
import { ServingRelease } from "../../ops/client/serving-release.ts";
import type { Manifest } from "../../ops/contract/manifest.ts";
import { labels, oneOffName } from "../../ops/contract/names.ts";
import { knownQuestionSchema } from "../../ops/contract/questions.ts";
import { manifestName } from "../../ops/contract/snapshot-format.ts";
import type { StepRequest } from "../../ops/contract/steps.ts";
import { bundledImageTag } from "../../ops/image.ts";
import { Books, cutShort } from "../step-faults/cut-short.ts";
import { Workbench, type Ended, type Fault, type Write } from "../step-faults/workbench.ts";
import { docker, Harness } from "../step-harness.ts";
import { makeIdentity } from "./age-identity.ts";
import { S3Storage } from "./s3-storage.ts";

const harness = new Harness();
const bench = new Workbench(harness, "bench");
const books = new Books(bench);
const v1 = { version: "v1.0.0", commit: "1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d" };
const v2 = { version: "v1.1.0", commit: "9f8e7d6c5b4a39281706f5e4d3c2b1a098765432" };
const database = "kept_data";
const environment = (): Record<string, string> => ({ DATABASE_URL: harness.url(database) });
const backups = (): string => bench.directory("backups");
const sha256 = (content: Uint8Array): string => createHash("sha256").update(content).digest("hex");

beforeAll(async () => {
  await Promise.all([books.setUp(), harness.setUp()]);
  await bench.setUp();
  await harness.database(database);
  await harness.sql(
    `CREATE TABLE places AS SELECT n, decode(md5(random()::text), 'hex') AS noise FROM generate_series(1, 40000) n;
     CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO schema_migrations VALUES (1, false);`,
    database,
  );
  await bench.run("begin", { activeSlot: "blue", slots: { blue: v1 } });
  await books.keep("blue is open");
});
afterAll(async () => {
  await docker("rm", "--force", bench.container);
  await harness.tearDown();
  await books.tearDown();
});

/** Takes a snapshot, alone in its directory. */
async function snapshot(
  format: StepRequest<"snapshot">["format"],
  recipients: string[] = [],
): Promise<{ file: string; sha256: string }> {
  await bench.clear("backups");
  const { result, said } = await bench.run(
    "snapshot",
    { retention: 3, keepVerified: 1, format, recipients, release: v2 },
    { environment: environment() },
  );
  if (result === undefined) throw new Error(said);
  return { file: basename(result.file), sha256: result.sha256 };
}
/** Of each kind of write the first one, and the last one of what removes. The notes that each step makes of its phase are cut short at the gate. */
function ofEachKind(
  writes: (write: Write) => boolean = ({ where }) => !/^\/(state|logs)/.test(where),
): (write: Write, all: readonly Write[]) => boolean {
  const kind = ({ what, where }: Write): string =>
    `${what} ${what === "send" ? where.split(" ").slice(0, 2).join(" ") : where}`;
  return (write, all) => {
    if (!writes(write)) return false;
    const same = all.filter((one) => kind(one) === kind(write));
    return write === same[0] || (write === same.at(-1) && /^(rm|send DROP) /.test(`${kind(write)} `));
  };
}
const databases = async (): Promise<string[]> =>
  (
    await harness.sql(
      "SELECT datname FROM pg_database WHERE datname NOT LIKE 'template%' AND datname <> 'postgres' ORDER BY 1",
    )
  ).split("\n");
const leftDatabases = async (): Promise<string[]> =>
  (await databases()).filter((name) => name !== database).map((name) => `the database ${name} is left`);
/** The manifest of the snapshot, if it can be read, and what is not whole beside it. */
async function lookAtSnapshot(file: string): Promise<{ manifest: Manifest; problems: string[] }> {
  const manifest = JSON.parse(await readFile(join(backups(), manifestName(file)), "utf8")) as Manifest;
  const names = await readdir(backups());
  const problems = names.filter((name) => /\.(partial|tmp)$/.test(name)).map((name) => `${name} is left`);
  if (manifest.format !== "directory" && manifest.sha256 !== sha256(await readFile(join(backups(), file))))
    problems.push(`${file} is not whole`);
  return { manifest, problems };
}

describe("a proof", () => {
  it("is noted only where it was made, and leaves nothing but its note", async () => {
    const { secret, recipient } = await makeIdentity();
    const taken = await snapshot("sql.zst", [recipient]);
    const untouched = await readFile(join(backups(), manifestName(taken.file)));
    const { problems, runs, writes } = await cutShort(
      bench,
      (fault) =>
        bench.run(
          "verify",
          { ...taken, foreign: false, required: true },
          { fault, environment: { ...environment(), SNAPSHOT_IDENTITY: secret } },
        ),
      {
        reset: async () => {
          await books.bringBack("blue is open");
          await writeFile(join(backups(), manifestName(taken.file)), untouched);
        },
        choose: ofEachKind(),
        cut: async ({ exitCode, writes: done }) => {
          const { manifest } = await lookAtSnapshot(taken.file);
          const noted = manifest.verified_at !== undefined;
          const loaded = done.some(({ what, where }) => what === "rename" && where.startsWith("/backups"));
          return [
            ...(noted && !loaded ? ["it is noted as proved, and was not loaded"] : []),
            ...(exitCode === 0 && !noted ? ["it succeeded, and is not noted"] : []),
          ];
        },
        check: async ({ result }) => {
          const { manifest, problems } = await lookAtSnapshot(taken.file);
          return [
            ...problems,
            ...(await leftDatabases()),
            ...(await books.problems()),
            ...(manifest.verified_at === undefined ? ["it is not noted as proved"] : []),
            ...(result?.verified === true && result.rows === 40_001 ? [] : [`it says ${JSON.stringify(result)}`]),
          ];
        },
      },
    );
    expect(problems).toEqual([]);
    console.log(`verify: ${runs} runs, ${writes.length} writes`);
  });
});

describe("a rehearsal", () => {
  const router = `togather-${harness.name}-router`;
  const volume = `togather-${harness.name}-files`;
  const blue = `togather-${harness.name}-blue`;
  const image = `togather-server:${harness.name}-serving`;

  /** A server of the release that serves, which works on any database. */
  async function serve(): Promise<void> {
    const named = [`--label=${labels.name}=${harness.name}`];
    const health = {
      status: "healthy",
      version: v1.version,
      database: "connected",
      migrations: "up-to-date",
      jobs: "operational",
    };
    const program = `require("node:http").createServer((_, response) => response.end(${JSON.stringify(JSON.stringify(health))})).listen(8080)`;
    await execa("docker", ["build", "--quiet", "--tag", image, "-"], {
      input: `FROM ${bundledImageTag("ops")}\nENTRYPOINT ["node", "-e", ${JSON.stringify(program)}]\n`,
    });
    await docker(
      ...["run", "--detach", "--init", `--name=${blue}`, `--network=${harness.network}`, ...named],
      ...[`--label=${labels.part}=blue`, `--label=${labels.version}=${v1.version}`],
      ...[`--label=${labels.commit}=${v1.commit}`, `--label=${labels.port}=8080`],
      ...["--env", `DATABASE_URL=${harness.url(database)}`, image],
    );
    await docker(
      ...["create", `--name=${router}`, ...named, `--label=${labels.part}=router`, `--volume=${volume}:/router`],
      ...["--entrypoint=true", bundledImageTag("nginx")],
    );
    const state = join(harness.directory, "slot.json");
    await writeFile(state, JSON.stringify({ slot: "blue", changedAt: new Date().toISOString() }));
    await docker("cp", state, `${router}:/router/state/slot.json`);
  }

  beforeAll(async () => {
    await harness.image("nginx");
    await serve();
  });
  afterAll(async () => {
    await docker("rm", "--force", router, blue);
    await docker("volume", "rm", volume);
    await docker("image", "rm", "--force", image);
  });

  it("leaves the database alone, and no copy and no container behind once it has run again", async () => {
    const directory = await mkdtemp(join(tmpdir(), "togather-migrations-"));
    await mkdir(join(directory, "db"));
    await writeFile(join(directory, "db", "1_first.up.sql"), "SELECT 1;");
    await writeFile(join(directory, "db", "2_more.up.sql"), "ALTER TABLE places ADD COLUMN more int;");
    const source = { kind: "tree", repository: directory, digest: "tree-0123456789ab", path: "db" } as const;
    const payload = await migrationPayload({ source, lint: "off" }, new AbortController().signal);
    const taken = await snapshot("sql.gz");
    const untouched = await readFile(join(backups(), manifestName(taken.file)));
    const rehearsal = oneOffName(harness.name, "rehearsal");
    const left = (): Promise<string> => docker("ps", "--all", "--quiet", `--filter=name=^${rehearsal}$`);
    const rehearse = async (fault?: Fault): Promise<Ended<"rehearse">> => {
      const serving = new ServingRelease({ name: harness.name }, { signal: new AbortController().signal });
      const ended = await bench.run(
        "rehearse",
        {
          ...{ ...taken, release: v2, source, river: false, verify: true, required: true },
          ...{ lockTimeoutMs: 2_000, statementTimeoutMs: 30_000 },
          serving: { healthPath: "/health", port: 8080, checks: [], limitSeconds: 20, failure: "error" },
        },
        {
          ...{ fault, environment: environment(), payload },
          answer: (question) =>
            knownQuestionSchema.safeParse(question).success ? { files: null } : serving.answer(question),
        },
      );
      // Like the client, unless it is killed as well.
      if (fault === undefined || fault.kind === "full") await serving.remove();
      return ended;
    };
    const { problems, runs, writes } = await cutShort(bench, rehearse, {
      reset: async () => {
        await books.bringBack("blue is open");
        await writeFile(join(backups(), manifestName(taken.file)), untouched);
      },
      choose: ofEachKind(
        ({ what, where }) =>
          where.includes("rehearsed.json") || (what === "spawn" && !/pigz|psql/.test(where)) || what === "send",
      ),
      cut: async ({ exitCode, result }) => {
        const schema = await harness.sql(
          "SELECT (SELECT version FROM schema_migrations), (SELECT count(*) FROM pg_attribute WHERE attrelid = 'places'::regclass AND attnum > 0)",
          database,
        );
        return [
          ...(schema === "1|2" ? [] : [`the live database has schema and columns ${schema}`]),
          ...(exitCode === 0 && result?.files.length !== 1 ? ["it succeeded, and has rehearsed nothing"] : []),
        ];
      },
      check: async ({ result }) => {
        const { manifest, problems } = await lookAtSnapshot(taken.file);
        const rehearsed = await readFile(join(bench.directory("state"), "rehearsed.json"), "utf8");
        return [
          ...problems,
          ...(await leftDatabases()),
          ...(await books.problems()),
          ...((await left()) === "" ? [] : ["its container is left"]),
          ...(manifest.verified_at === undefined ? ["the snapshot is not noted as proved"] : []),
          ...((JSON.parse(rehearsed) as { files: unknown[] }).files.length === 1 ? [] : [`it has noted ${rehearsed}`]),
          ...(result?.verified === true && result.files.length === 1 && result.serving?.startsWith("v1.0.0: ") === true
            ? []
            : [`it says ${JSON.stringify(result)}`]),
        ];
      },
    });
    await rm(directory, { recursive: true });
    expect(problems).toEqual([]);
    console.log(`rehearse: ${runs} runs, ${writes.length} writes`);
  });
});

describe("the gate", () => {
  const well = `togather-${harness.name}-well`;
  const sick = `togather-${harness.name}-sick`;
  beforeAll(async () => {
    await harness.sql(
      "CREATE TABLE river_job (id bigserial PRIMARY KEY); CREATE TABLE river_leader (leader_id text);",
      database,
    );
    const health = {
      status: "healthy",
      version: v2.version,
      database: "connected",
      migrations: "up-to-date",
      jobs: "operational",
    };
    for (const [name, status] of [
      [well, 200],
      [sick, 503],
    ] as const)
      await docker(
        ...["run", "--detach", "--init", `--name=${name}`, `--network=${harness.network}`, "--entrypoint=node"],
        ...[bundledImageTag("ops"), "-e"],
        `require("node:http").createServer((_, response) => response.writeHead(${status}).end(${JSON.stringify(JSON.stringify(health))})).listen(8080)`,
      );
  });
  afterAll(() => docker("rm", "--force", well, sick));
  const ask = (containerName: string, fault?: Fault): Promise<Ended<"gate">> =>
    bench.run(
      "gate",
      {
        ...{
          slot: "green",
          release: v2,
          containerName,
          containerId: "0".repeat(64),
          url: `http://${containerName}:8080`,
        },
        ...{ healthPath: "/health", retries: 2, intervalSeconds: 0.1, graceSeconds: containerName === well ? 10 : 0 },
        ...{ expectedMigration: 1, whenStopped: "start" },
      },
      { fault, environment: environment() },
    );

  it("lets through a server that is well, whatever becomes of its notes", async () => {
    const { problems, runs, writes } = await cutShort(bench, (fault) => ask(well, fault), {
      reset: () => books.bringBack("blue is open"),
      choose: ({ what, where }) => !where.startsWith("/logs") || what === "open",
      // A failure to write records must not refuse a server.
      cut: ({ exitCode }, { kind }) =>
        Promise.resolve(kind === "full" && exitCode !== 0 ? ["it refuses a server that is well"] : []),
      check: async ({ result }) => [
        ...(await books.problems()),
        ...(result?.checks.http === undefined ? [`it says ${JSON.stringify(result)}`] : []),
      ],
    });
    expect(problems).toEqual([]);
    console.log(`gate: ${runs} runs, ${writes.length} writes`);
  });

  it("lets nobody through who is not well, and says so again", async () => {
    await books.bringBack("blue is open");
    const plain = await ask(sick);
    expect([plain.exitCode, plain.said]).toEqual([1, expect.stringMatching(/green did not pass the gate/)]);
    let runs = 0;
    for (const write of plain.writes.filter(({ what, where }) => what === "open" || where === "result")) {
      for (const kind of ["kill", "full"] as const) {
        if (kind === "full" && !write.where.startsWith("/")) continue;
        await books.bringBack("blue is open");
        const { exitCode, said } = await ask(sick, { kind, at: write });
        const about = `${kind} at ${write.what} ${write.where}`;
        expect(exitCode, `${about}: ${said}`).toBe(kind === "kill" ? 137 : 1);
        expect(said, about).not.toMatch(/may serve/);
        const again = await ask(sick);
        expect([again.exitCode, again.said], about).toEqual([1, expect.stringMatching(/did not pass the gate/)]);
        runs += 1;
      }
    }
    expect(runs).toBeGreaterThan(0);
    console.log(`gate of a sick server: ${runs} runs`);
  });
});

describe("a replaced database", () => {
  it("is dropped, alone, and is said to be", async () => {
    const [one, other] = [`${database}_before_20260101_000000`, `${database}_before_20260102_000000`];
    const { problems, runs, writes } = await cutShort(
      bench,
      (fault) => bench.run("discard", { database: one }, { fault, environment: environment() }),
      {
        reset: async () => {
          await books.bringBack("blue is open");
          for (const name of [one, other]) {
            await harness.sql(`DROP DATABASE IF EXISTS ${name}`);
            await harness.sql(`CREATE DATABASE ${name}`);
          }
        },
        choose: ofEachKind(),
        cut: async ({ exitCode }, { kind }) => {
          const now = await databases();
          // It could not record the name, but has dropped the database: nobody has a reason to run it again.
          if (kind === "full" && exitCode === 0 && !now.includes(one)) await harness.sql(`CREATE DATABASE ${one}`);
          return [
            ...(exitCode === 0 && now.includes(one) ? ["it succeeded, and the database is there"] : []),
            ...(now.includes(other) && now.includes(database) ? [] : ["another database is gone"]),
          ];
        },
        check: async ({ result }) => {
          const now = await databases();
          return [
            ...(now.join() === [database, other].join() ? [] : [`there are ${now.join()}`]),
            ...(result?.kept.map((entry) => entry.database).join() === other
              ? []
              : [`it says ${JSON.stringify(result)}`]),
            ...(await books.problems()),
          ];
        },
      },
    );
    await harness.sql(`DROP DATABASE ${other}`);
    expect(problems).toEqual([]);
    console.log(`discard: ${runs} runs, ${writes.length} writes`);
  });
});

describe("copies", () => {
  const credentials = { SNAPSHOT_COPY_KEY_ID: "copy-key-canary-1", SNAPSHOT_COPY_SECRET: "copy-secret-canary-2" };
  const room = new Workbench(harness, "room", { "/backups": "--tmpfs=/backups:size=4m" });
  let storage: S3Storage;
  const place = (): Pick<StepRequest<"fetch">, "endpoint" | "region" | "bucket" | "prefix"> => ({
    ...{ endpoint: storage.endpoint, region: "us-east-1", bucket: "backups", prefix: "staging/" },
  });
  beforeAll(async () => {
    storage = await S3Storage.start(`togather-${harness.name}-s3`, harness.network, credentials);
    await room.setUp();
  });
  afterAll(async () => {
    await docker("rm", "--force", room.container);
    await storage.remove();
  });
  /** SHA-256 of everything below a directory, by its path. */
  async function inStorage(): Promise<Record<string, string>> {
    const lines = await storage.inside(
      "sh",
      "-c",
      "cd /data/backups && find staging -type f -exec sha256sum {} + || true",
    );
    return Object.fromEntries(
      lines.split("\n").flatMap((line) => {
        const [, digest, path] = /^([0-9a-f]{64}) {2}staging\/(.*)$/.exec(line) ?? [];
        return digest === undefined || path === undefined ? [] : [[path, digest]];
      }),
    );
  }
  /** A file; of a manifest, what it says. */
  async function whatItSays(path: string): Promise<Uint8Array> {
    const bytes = await readFile(path);
    if (!path.endsWith(".json")) return bytes;
    const fields = Object.entries(JSON.parse(bytes.toString()) as object).sort(([a], [b]) => (a < b ? -1 : 1));
    return Buffer.from(JSON.stringify(fields));
  }
  async function onDisk(read: (path: string) => Promise<Uint8Array> = readFile): Promise<Record<string, string>> {
    const entries = await readdir(backups(), { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    return Object.fromEntries(
      await Promise.all(
        files.map(async (path) => [path.slice(backups().length + 1), sha256(await read(path))] as const),
      ),
    );
  }
  const emptyStorage = (): Promise<string> =>
    storage.inside("sh", "-c", "rm -rf /data/backups/staging /sidecar/backups");

  it.each(["sql.gz", "directory"] as const)(
    "in the format %s have their manifest only where they are whole, and are made once more",
    async (format) => {
      const taken = await snapshot(format);
      const here = await onDisk();
      const { problems, runs, writes } = await cutShort(
        bench,
        (fault) => bench.run("copy", { ...place(), ...taken, failure: "error" }, { fault, environment: credentials }),
        {
          reset: async () => {
            await books.bringBack("blue is open");
            await emptyStorage();
          },
          choose: ofEachKind(),
          cut: async ({ exitCode }) => {
            const there = await inStorage();
            const whole = Object.entries(here).every(([path, digest]) => there[path] === digest);
            return [
              ...(there[manifestName(taken.file)] !== undefined && !whole
                ? ["it has its manifest, and is not whole"]
                : []),
              ...(exitCode === 0 && !whole ? ["it is said to be copied, and is not"] : []),
            ];
          },
          check: async ({ result }) => [
            ...(JSON.stringify(Object.entries(await inStorage()).sort()) === JSON.stringify(Object.entries(here).sort())
              ? []
              : ["the storage does not have what is on the host"]),
            ...(result?.copied?.endsWith(taken.file) === true ? [] : [`it says ${JSON.stringify(result)}`]),
            ...(await books.problems()),
          ],
        },
      );
      expect(problems).toEqual([]);
      console.log(`copy ${format}: ${runs} runs, ${writes.length} writes`);
    },
  );

  it.each(["sql.gz", "directory"] as const)("in the format %s come back whole or not at all", async (format) => {
    await emptyStorage();
    const taken = await snapshot(format);
    const copied = await bench.run("copy", { ...place(), ...taken, failure: "error" }, { environment: credentials });
    expect(copied.exitCode, copied.said).toBe(0);
    const before = await onDisk(whatItSays);
    const { problems, runs, writes } = await cutShort(
      bench,
      (fault) => bench.run("fetch", { ...place(), file: taken.file }, { fault, environment: credentials }),
      {
        reset: async () => {
          await books.bringBack("blue is open");
          await bench.clear("backups");
        },
        choose: ofEachKind(),
        cut: async ({ exitCode }) => {
          const now = await onDisk(whatItSays);
          const named = Object.keys(now).some((path) => path === taken.file || path.startsWith(`${taken.file}/`));
          const whole = Object.entries(before).every(([path, digest]) => now[path] === digest);
          return [
            ...(named && !whole ? ["it has its name, and is not whole"] : []),
            ...(exitCode === 0 && !whole ? ["it is said to be fetched, and is not"] : []),
          ];
        },
        check: async ({ result }) => {
          const now = await onDisk(whatItSays);
          return [
            ...(JSON.stringify(Object.entries(now).sort()) === JSON.stringify(Object.entries(before).sort())
              ? []
              : [`there are ${Object.keys(now).join(", ")}`]),
            ...(result?.copies.length === 1 ? [] : [`it says ${JSON.stringify(result)}`]),
            ...(await books.problems()),
          ];
        },
      },
    );
    expect(problems).toEqual([]);
    console.log(`fetch ${format}: ${runs} runs, ${writes.length} writes`);
  });

  it("that find the disk filled up under them leave it as it was, and come back when there is room", async () => {
    await emptyStorage();
    const taken = await snapshot("sql.gz");
    const copied = await bench.run("copy", { ...place(), ...taken, failure: "error" }, { environment: credentials });
    expect(copied.exitCode, copied.said).toBe(0);
    const bring = (fault?: Fault, whileStopped?: () => Promise<unknown>): Promise<Ended<"fetch">> =>
      room.run(
        "fetch",
        { ...place(), file: taken.file },
        { fault, environment: credentials, ...(whileStopped && { whileStopped }) },
      );
    const plain = await bring();
    expect(plain.exitCode, plain.said).toBe(0);
    await room.inside("rm -rf /backups/*");
    const second = plain.writes.filter(({ what, where }) => what === "spawn" && where === "rclone")[1];
    if (second === undefined) throw new Error("rclone is not started twice");
    // After it has looked how much room there is.
    const cut = await bring({ kind: "stop", at: second }, () =>
      room.inside("dd if=/dev/zero of=/backups/filler bs=64k"),
    );
    expect([cut.exitCode, cut.said]).toEqual([1, expect.stringMatching(/has \S+ \S+ left, expected/)]);
    expect(cut.said).not.toMatch(/SNAPSHOT_COPY_KEY_ID/);
    expect(await room.inside("ls /backups")).toBe("filler");
    await room.inside("rm /backups/filler");
    const again = await bring();
    expect(again.exitCode, again.said).toBe(0);
    expect(await room.inside(`sha256sum < /backups/${taken.file}`)).toContain(taken.sha256);
  });
});
