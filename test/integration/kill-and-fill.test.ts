/** Steps that are killed, stopped, or out of room at each of their writes, and then run again once, as they are. */
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { renderNginxFiles } from "../../components/nginx/config.ts";
import { migrationPayload } from "../../ops/client/migrate.ts";
import { run as runRouter } from "../../ops/client/router.ts";
import { containerPaths } from "../../ops/contract/context.ts";
import { bundledImageTag } from "../../ops/image.ts";
import { docker, eventually, Harness } from "../step-harness.ts";
import { freePort } from "./addresses.ts";
import { deploymentStateSchema } from "../../ops/contract/deployment-state.ts";
import { Books, cutShort } from "../step-faults/cut-short.ts";
import { Workbench, type Ended, type Fault } from "../step-faults/workbench.ts";

const harness = new Harness();
const bench = new Workbench(harness, "bench");
const v1 = { version: "v1.0.0", commit: "1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d" };
const v2 = { version: "v1.1.0", commit: "9f8e7d6c5b4a39281706f5e4d3c2b1a098765432" };
const books = new Books(bench);

beforeAll(async () => {
  await books.setUp();
  await harness.setUp();
  await bench.setUp();
  const first = await bench.run("begin", { activeSlot: "blue", slots: { blue: v1 } });
  await books.keep("first is open");
  await bench.run("record", {
    ...{ activeSlot: "blue", slots: { blue: v1 }, release: v1 },
    ...{ deploymentId: first.result?.deploymentId ?? "", logRetention: 100 },
  });
  await books.keep("blue serves");
  await bench.run("begin", { activeSlot: "green", slots: { blue: v1, green: v2 } });
  await books.keep("green is open");
});
afterAll(async () => {
  await docker("rm", "--force", bench.container);
  await harness.tearDown();
  await books.tearDown();
});

describe("the deployment's books", () => {
  const slots = { blue: v1, green: v2 };
  const forward = { activeSlot: "green", slots } as const;
  const begin = (fault?: Fault): Promise<Ended<"begin">> => bench.run("begin", forward, { fault });
  const recordOf =
    (deploymentId: string) =>
    (fault?: Fault): Promise<Ended<"record">> =>
      bench.run("record", { ...forward, deploymentId, release: v2, logRetention: 100 }, { fault });

  it("are opened", async () => {
    const { problems, runs } = await cutShort(bench, begin, {
      reset: () => books.bringBack("blue serves"),
      check: async ({ result }) => {
        const events = (await books.history()).filter((one) => one.deployment_id === result?.deploymentId);
        return [
          ...(await books.problems()),
          ...(events[0]?.event === "in_progress" ? [] : [`its history begins with ${events[0]?.event}`]),
        ];
      },
    });
    expect(problems).toEqual([]);
    console.log(`begin: ${runs} runs`);
  });

  it("are opened after one that was interrupted", async () => {
    const { problems, runs } = await cutShort(bench, begin, {
      reset: () => books.bringBack("first is open"),
      check: async ({ result }) => {
        const all = await books.history();
        const interrupted = all.filter((one) => one.event === "failed");
        const events = all.filter((one) => one.deployment_id === result?.deploymentId);
        return [
          ...(await books.problems()),
          ...(interrupted.length === 1 ? [] : [`${interrupted.length} failures of the one before`]),
          ...(events[0]?.event === "in_progress" ? [] : [`its history begins with ${events[0]?.event}`]),
        ];
      },
    });
    expect(problems).toEqual([]);
    console.log(`begin after an interrupted one: ${runs} runs`);
  });

  it("are closed", async () => {
    await books.bringBack("green is open");
    const id = (
      JSON.parse(await readFile(join(bench.directory("state"), "current.json"), "utf8")) as { deployment_id: string }
    ).deployment_id;
    const { problems, runs } = await cutShort(bench, recordOf(id), {
      reset: () => books.bringBack("green is open"),
      check: async () => {
        const done = (await books.history()).filter((one) => one.deployment_id === id && one.event === "succeeded");
        const state = deploymentStateSchema.parse(
          JSON.parse(await readFile(join(bench.directory("state"), "deployment-state.json"), "utf8")),
        );
        return [
          ...(await books.problems()),
          ...(done.length === 1 ? [] : [`it succeeded ${done.length} times`]),
          ...(state.active_slot === "green" && state.previous_slot === "blue"
            ? []
            : [`${state.active_slot} serves, after ${state.previous_slot}`]),
        ];
      },
    });
    expect(problems).toEqual([]);
    console.log(`record: ${runs} runs`);
  });

  it("are closed by a failure", async () => {
    const { problems, runs } = await cutShort(
      bench,
      (fault) => bench.run("fail", { phase: "build", version: v2.version, error: "no image" }, { fault }),
      {
        reset: () => books.bringBack("green is open"),
        check: async () => {
          const failed = (await books.history()).filter((one) => one.event === "failed");
          return [...(await books.problems()), ...(failed.length === 1 ? [] : [`it failed ${failed.length} times`])];
        },
      },
    );
    expect(problems).toEqual([]);
    console.log(`fail: ${runs} runs`);
  });
});

describe("traffic", () => {
  const router = `togather-${harness.name}-router`;
  const volume = `togather-${harness.name}-files`;
  const atSwitch = new Workbench(harness, "switch", { "/router": `--volume=${volume}:/router` });
  const releases = { blue: v1, green: v2 };
  const address = (slot: "blue" | "green"): string => harness.address(slot === "blue" ? 10 : 11);
  let port = 0;

  /** A server of a release, as healthy as can be. */
  async function serve(slot: "blue" | "green"): Promise<void> {
    const { version } = releases[slot];
    const health = { status: "healthy", version, database: "connected", migrations: "up-to-date", jobs: "operational" };
    await docker(
      ...["run", "--detach", "--init", `--name=togather-${harness.name}-${slot}`, `--network=${harness.network}`],
      ...[`--ip=${address(slot)}`, "--entrypoint=node", bundledImageTag("ops"), "-e"],
      `require("node:http").createServer((_, response) => response.end(${JSON.stringify(JSON.stringify(health))})).listen(8080)`,
    );
  }
  const inRouter = async (script: string): Promise<string> => docker("exec", router, "sh", "-c", script);
  const control = (method: string, body = ""): Promise<string> =>
    inRouter(`curl -s --unix-socket /router/run/control.sock -X ${method} -d '${body}' http://router/slot`);
  const inMemory = async (): Promise<unknown> => (JSON.parse(await control("GET")) as { slot: unknown }).slot;
  const answers = async (): Promise<string | null> =>
    (await fetch(`http://127.0.0.1:${port}/health`)).headers.get("x-togather-slot");
  const toGreen = (fault?: Fault, more = {}): Promise<Ended<"switch">> =>
    atSwitch.run(
      "switch",
      {
        ...{ activeSlot: "green", release: v2, routerContainerId: "", slotUrl: `http://${address("green")}:8080` },
        ...{ routerUrl: `http://${harness.address(30)}:8080`, healthPath: "/health", checks: [] },
        rollout: { steps: [], intervalMs: 0, bakeMs: 0, sticky: false },
      },
      { fault, ...more },
    );
  /** Blue has served, and the switch to green is to come. */
  async function toBlue(): Promise<void> {
    await inRouter("rm -f /router/state/.slot.json.*; cp -p /router/state/kept.json /router/state/slot.json");
    await control("PUT", JSON.stringify({ slot: "blue", version: v1.version }));
    await books.bringBack("green is open");
  }

  beforeAll(async () => {
    await harness.image("nginx");
    port = await freePort();
    const image = bundledImageTag("nginx");
    const files = renderNginxFiles({
      slots: { blue: `${address("blue")}:8080`, green: `${address("green")}:8080` },
      tls: false,
    });
    const quiet = (): void => undefined;
    await runRouter(
      {
        ...{ contract: 1, name: harness.name, environment: "staging" },
        ...{ image, volume, containerName: router, files },
      },
      {
        log: { debug: quiet, info: quiet, success: quiet, warn: quiet, error: quiet },
        signal: new AbortController().signal,
        env: process.env,
        payload: () => Promise.resolve(Buffer.alloc(0)),
        paths: containerPaths,
      },
    );
    await docker(
      ...["run", "--detach", `--name=${router}`, `--network=${harness.network}`, `--ip=${harness.address(30)}`],
      ...[`--volume=${volume}:/router`, `--publish=127.0.0.1:${port}:8080`, image],
    );
    await Promise.all([serve("blue"), serve("green"), atSwitch.setUp()]);
    await eventually("the router", async () => (await fetch(`http://127.0.0.1:${port}/health`)).status === 503);
    const first = await atSwitch.run("switch", {
      ...{ activeSlot: "blue", release: v1, routerContainerId: "", slotUrl: `http://${address("blue")}:8080` },
      ...{ routerUrl: `http://${harness.address(30)}:8080`, healthPath: "/health", checks: [] },
      rollout: { steps: [], intervalMs: 0, bakeMs: 0, sticky: false },
    });
    expect(first.exitCode, first.said).toBe(0);
    await inRouter("cp -p /router/state/slot.json /router/state/kept.json");
  });
  afterAll(async () => {
    await docker("rm", "--force", atSwitch.container);
    await docker("rm", "--force", router);
    await docker("volume", "rm", volume);
  });

  it("is where the step says that it is, and moves with the next run", async () => {
    const lost: string[] = [];
    const asking = { on: true };
    const client = (async () => {
      while (asking.on) {
        const status = await fetch(`http://127.0.0.1:${port}/health`).then((answer) => answer.status, String);
        if (status !== 200) lost.push(String(status));
        await sleep(10);
      }
    })();
    const { problems, runs } = await cutShort(atSwitch, toGreen, {
      reset: toBlue,
      // A line of the log more or less is the same to all of them.
      choose: ({ what, where }) => !where.startsWith("/logs") || what === "open",
      cut: async ({ exitCode, said }) => {
        const serves = await inMemory();
        const claimed =
          exitCode === 0 ? "green" : /(?:Traffic is still on|all traffic goes to) (blue|green)/.exec(said)?.[1];
        const found = serves !== "blue" && serves !== "green" ? [`the router is on ${String(serves)}`] : [];
        if (claimed !== undefined && claimed !== serves) found.push(`it says ${claimed}, and ${String(serves)} serves`);
        if ((await answers()) !== serves) found.push(`clients are answered by ${await answers()}`);
        return found;
      },
      check: async ({ result }) => {
        await inRouter("find /router/state -name '.*.tmp' -exec touch -d '-1 hour' {} +").catch(() => undefined);
        const file = JSON.parse(await inRouter("cat /router/state/slot.json")) as { slot: unknown; served: object };
        const now = [await inMemory(), file.slot, await answers(), result?.to];
        return [
          ...(now.every((slot) => slot === "green") ? [] : [`memory, file, answer, result: ${now.join(", ")}`]),
          ...(JSON.stringify(file.served) === JSON.stringify({ blue: v1, green: v2 })
            ? []
            : [`it served ${JSON.stringify(file.served)}`]),
          ...(await books.problems()),
        ];
      },
    });
    asking.on = false;
    await client;
    expect({ problems, lost }).toEqual({ problems: [], lost: [] });
    console.log(`switch: ${runs} runs`);
  });

  it("moves though the step was stopped for longer than a client may be silent", async () => {
    await toBlue();
    const { writes } = await toGreen();
    const put = writes.find(({ what, where }) => what === "send" && where === "PUT /slot");
    await toBlue();
    const { exitCode, said } = await toGreen(put && { kind: "stop", at: put }, { stoppedMs: 4_000, silenceMs: 2_000 });
    expect(exitCode, said).toBe(0);
    expect([await inMemory(), await answers()]).toEqual(["green", "green"]);
  });
});

describe("data", () => {
  const database = "kept_data";
  const environment = (): Record<string, string> => ({ DATABASE_URL: harness.url(database) });
  const rows = (where = database): Promise<string> =>
    harness.sql("SELECT string_agg(name, ' ' ORDER BY name) FROM places", where);
  const databases = async (): Promise<string[]> =>
    (
      await harness.sql(
        `SELECT datname FROM pg_database WHERE datname LIKE '${database}%' AND datname <> '${database}_template' ORDER BY 1`,
      )
    ).split("\n");
  const snapshotRequest = { retention: 3, keepVerified: 1, format: "sql.gz" as const, recipients: [], release: v2 };
  let taken: string;

  async function freshDatabase(): Promise<void> {
    for (const name of await databases()) if (name !== "") await harness.sql(`DROP DATABASE "${name}" WITH (FORCE)`);
    await harness.sql(`CREATE DATABASE ${database} TEMPLATE ${database}_template`);
    await books.bringBack("green is open");
  }
  /** Nothing in the directory of the snapshots that is not whole. */
  async function wholeSnapshots(): Promise<string[]> {
    const files = await readdir(bench.directory("backups"));
    const problems = files.filter((file) => /\.(partial|tmp)$/.test(file)).map((file) => `${file} is left`);
    for (const file of files.filter((name) => name.endsWith(".sql.gz"))) {
      const content = await readFile(join(bench.directory("backups"), file));
      const text = await readFile(join(bench.directory("backups"), file.replace(".sql.gz", ".json")), "utf8").catch(
        () => "{}",
      );
      const manifest = JSON.parse(text) as { sha256?: string };
      if (manifest.sha256 !== createHash("sha256").update(content).digest("hex")) problems.push(`${file} is not whole`);
    }
    return problems;
  }

  beforeAll(async () => {
    await harness.database(`${database}_template`);
    await harness.sql("CREATE TABLE places (name text); INSERT INTO places VALUES ('before')", `${database}_template`);
    await freshDatabase();
    const { result, said } = await bench.run("snapshot", snapshotRequest, { environment: environment() });
    expect(result, said).toBeDefined();
    taken = basename(result?.file ?? "");
  });

  it("is in a snapshot that is whole, or in none", async () => {
    const { problems, runs } = await cutShort(
      bench,
      (fault) => bench.run("snapshot", snapshotRequest, { fault, environment: environment() }),
      {
        reset: async () => {
          await books.bringBack("green is open");
          for (const file of await readdir(bench.directory("backups")))
            if (!file.startsWith(taken.slice(0, -".sql.gz".length)))
              await rm(join(bench.directory("backups"), file), { recursive: true });
        },
        choose: ({ where }) => where.startsWith("/backups") || where === "pg_dump" || where === "result",
        // Remains of a killed step are no snapshot.
        cut: async ({ exitCode }, { kind }) =>
          exitCode === 0 && kind === "full"
            ? ["it succeeded without room"]
            : (await wholeSnapshots()).filter((one) => one.includes("whole")),
        check: async ({ result }) => [
          ...(await wholeSnapshots()),
          ...((await readdir(bench.directory("backups"))).includes(basename(result?.file ?? "?"))
            ? []
            : ["it is not there"]),
        ],
      },
    );
    expect(problems).toEqual([]);
    console.log(`snapshot: ${runs} runs`);
  });

  it("is all there, before or after a restore, and what it was before is kept", async () => {
    const { problems, runs, writes } = await cutShort(
      bench,
      (fault) =>
        bench.run("restore", { file: taken, foreign: false, mode: "restore" }, { fault, environment: environment() }),
      {
        kinds: ["kill"],
        reset: async () => {
          await freshDatabase();
          await harness.sql("INSERT INTO places VALUES ('since')", database);
        },
        choose: ({ what, where }) => what === "send" || where === "psql",
        cut: async () => {
          const now = await rows().catch((error: unknown) => String(error));
          return now === "before since" || now === "before" ? [] : [`the database has: ${now}`];
        },
        check: async ({ result }) => {
          const all = await Promise.all((await databases()).map((one) => rows(one)));
          return [
            ...((await rows()) === "before" ? [] : [`the database has ${await rows()}`]),
            ...(all.includes("before since") ? [] : ["what it was before is lost"]),
            ...(result?.database === database ? [] : [`it says ${result?.database}`]),
            ...(await databases())
              .filter((one) => one.includes("scratch") || one.includes("restore"))
              .map((one) => `${one} is left`),
          ];
        },
      },
    );
    expect(problems).toEqual([]);
    console.log(`restore: ${runs} runs, ${writes.length} writes`);
  });

  it("has each migration once", async () => {
    const directory = await mkdtemp(join(tmpdir(), "togather-migrations-"));
    await mkdir(join(directory, "db"));
    await writeFile(join(directory, "db", "1_a.up.sql"), "CREATE TABLE a (id int); INSERT INTO a VALUES (1);");
    await writeFile(join(directory, "db", "2_b.up.sql"), "CREATE TABLE b (id int); INSERT INTO b VALUES (1);");
    const source = { kind: "tree", repository: directory, digest: "tree-0123456789ab", path: "db" } as const;
    const payload = await migrationPayload({ source, lint: "off" }, new AbortController().signal);
    const { problems, runs } = await cutShort(
      bench,
      (fault) =>
        bench.run(
          "migrate",
          {
            ...{ release: v2, source, river: false, lint: "off" },
            ...{ lockTimeoutMs: 2_000, lockAttempts: 1, statementTimeoutMs: 30_000 },
          },
          { fault, environment: environment(), payload },
        ),
      {
        reset: freshDatabase,
        choose: ({ what, where }) => what === "send" || what === "spawn" || where.includes("applied"),
        check: async () => {
          const version = await harness.sql("SELECT version, dirty FROM schema_migrations", database);
          const counts = await harness.sql("SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)", database);
          return version === "2|f" && counts === "1|1" ? [] : [`version ${version}, rows ${counts}`];
        },
      },
    );
    await rm(directory, { recursive: true });
    expect(problems).toEqual([]);
    console.log(`migrate: ${runs} runs`);
  });
});
