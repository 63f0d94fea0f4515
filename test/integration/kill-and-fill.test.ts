/** Steps that are killed, stopped, or out of room at each of their writes, and then run again once, as they are. */
import { cp, mkdtemp, readdir, readFile, rm, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { docker, Harness } from "../step-harness.ts";
import {
  currentSchema,
  deploymentStateSchema,
  historyEventSchema,
  type HistoryEvent,
} from "../../ops/contract/deployment-state.ts";
import { Workbench, type Ended, type Fault, type Write } from "../step-faults/workbench.ts";
import type { StepName } from "../../ops/contract/steps.ts";

const harness = new Harness();
const bench = new Workbench(harness, "bench");
const v1 = { version: "v1.0.0", commit: "1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d" };
const v2 = { version: "v1.1.0", commit: "9f8e7d6c5b4a39281706f5e4d3c2b1a098765432" };
let kept: string;

beforeAll(async () => {
  kept = await mkdtemp(join(tmpdir(), "togather-kept-"));
  await harness.setUp();
  await bench.setUp();
});
afterAll(async () => {
  await docker("rm", "--force", bench.container);
  await harness.tearDown();
  await rm(kept, { recursive: true, force: true });
});

/** The state and log directories as they are, to come back to. */
async function keep(name: string): Promise<void> {
  for (const disk of ["state", "logs"] as const)
    await cp(bench.directory(disk), join(kept, name, disk), { recursive: true });
}
async function bringBack(name: string): Promise<void> {
  await bench.clear("state", "logs");
  for (const disk of ["state", "logs"] as const)
    await cp(join(kept, name, disk), bench.directory(disk), { recursive: true });
}

/** Makes what is half-written an hour old. */
async function age(): Promise<void> {
  const then = new Date(Date.now() - 3_600_000);
  for (const disk of ["state", "backups"] as const) {
    const files = (await readdir(bench.directory(disk))).filter((file) => file.endsWith(".tmp"));
    await Promise.all(files.map((file) => utimes(join(bench.directory(disk), file), then, then)));
  }
}

/** Everything that is read later can be read, and nothing half-written lies about. */
async function wholeState(): Promise<string[]> {
  const problems: string[] = [];
  const files = await readdir(bench.directory("state"));
  const read = (file: string): Promise<string> => readFile(join(bench.directory("state"), file), "utf8");
  for (const file of files) {
    if (file.endsWith(".tmp")) problems.push(`${file} is left`);
    const schema = { "current.json": currentSchema, "deployment-state.json": deploymentStateSchema }[file];
    if (schema?.safeParse(JSON.parse(await read(file))).success === false) problems.push(`${file} can't be read`);
  }
  return problems;
}
async function history(): Promise<HistoryEvent[]> {
  const text = await readFile(join(bench.directory("state"), "history.jsonl"), "utf8");
  return text
    .split("\n")
    .filter((line) => line !== "")
    .flatMap((line) => {
      try {
        return [historyEventSchema.parse(JSON.parse(line))];
      } catch {
        // A line that was cut short.
        return [];
      }
    });
}

/** Runs a step once for each of its writes and each kind of fault, and again; returns what was not as it has to be. */
async function cutShort<S extends StepName>(
  run: (fault?: Fault) => Promise<Ended<S>>,
  {
    reset,
    check,
    cut = () => Promise.resolve([]),
    kinds = ["kill", "tear", "full"],
    choose = () => true,
  }: {
    /** Brings everything back to what it was before the first run. */
    reset: () => Promise<void>;
    /** What is wrong once it has run again. */
    check: (again: Ended<S>) => Promise<string[]>;
    /** What is wrong, or was said wrongly, right after the fault. */
    cut?: (first: Ended<S>, fault: Fault, write: Write) => Promise<string[]>;
    kinds?: Fault["kind"][];
    choose?: (write: Write) => boolean;
  },
): Promise<{ problems: string[]; runs: number; writes: Write[] }> {
  await reset();
  const plain = await run();
  if (plain.exitCode !== 0) throw new Error(plain.said);
  const wrong = await check(plain);
  if (wrong.length > 0) throw new Error(`without a fault: ${wrong.join("; ")}`);
  const problems: string[] = [];
  let runs = 0;
  for (const write of plain.writes.filter(choose)) {
    for (const kind of kinds) {
      const isFileWrite = write.where.startsWith("/");
      // A write that is torn stands for one that has not begun; what is not on disk yet is lost with the machine only.
      if (write.what === "sync" || (kind === "kill" && write.what === "write")) continue;
      if (kind === "tear" && write.what !== "write" && write.what !== "spawn") continue;
      if (kind === "full" && (!isFileWrite || write.what === "rename" || write.what === "rm")) continue;
      const fault = { kind, at: write.at };
      const about = `${kind} at ${write.at} (${write.what} ${write.where})`;
      await reset();
      const first = await run(fault);
      runs += 1;
      if (kind !== "full" && first.exitCode !== 137) problems.push(`${about}: it ended with ${first.exitCode}`);
      const found = await cut(first, fault, write);
      // An hour later.
      await age();
      const again = await run();
      if (again.exitCode !== 0) found.push(`the next run failed: ${again.said}`);
      else found.push(...(await check(again)));
      problems.push(...found.map((problem) => `${about}: ${problem}`));
    }
  }
  return { problems, runs, writes: plain.writes };
}

describe("the deployment's books", () => {
  const slots = { blue: v1, green: v2 };
  const forward = { activeSlot: "green", slots } as const;
  const begin = (fault?: Fault): Promise<Ended<"begin">> => bench.run("begin", forward, { fault });
  const recordOf =
    (deploymentId: string) =>
    (fault?: Fault): Promise<Ended<"record">> =>
      bench.run("record", { ...forward, deploymentId, release: v2, logRetention: 100 }, { fault });

  beforeAll(async () => {
    const first = await bench.run("begin", { activeSlot: "blue", slots: { blue: v1 } });
    await keep("first is open");
    await bench.run("record", {
      ...{ activeSlot: "blue", slots: { blue: v1 }, release: v1 },
      ...{ deploymentId: first.result?.deploymentId ?? "", logRetention: 100 },
    });
    await keep("blue serves");
    await begin();
    await keep("green is open");
  });

  it("are opened", async () => {
    const { problems, runs } = await cutShort(begin, {
      reset: () => bringBack("blue serves"),
      check: async ({ result }) => {
        const events = (await history()).filter((one) => one.deployment_id === result?.deploymentId);
        return [
          ...(await wholeState()),
          ...(events[0]?.event === "in_progress" ? [] : [`its history begins with ${events[0]?.event}`]),
        ];
      },
    });
    expect(problems).toEqual([]);
    console.log(`begin: ${runs} runs`);
  });

  it("are opened after one that was interrupted", async () => {
    const { problems, runs } = await cutShort(begin, {
      reset: () => bringBack("first is open"),
      check: async ({ result }) => {
        const all = await history();
        const interrupted = all.filter((one) => one.event === "failed");
        const events = all.filter((one) => one.deployment_id === result?.deploymentId);
        return [
          ...(await wholeState()),
          ...(interrupted.length === 1 ? [] : [`${interrupted.length} failures of the one before`]),
          ...(events[0]?.event === "in_progress" ? [] : [`its history begins with ${events[0]?.event}`]),
        ];
      },
    });
    expect(problems).toEqual([]);
    console.log(`begin after an interrupted one: ${runs} runs`);
  });

  it("are closed", async () => {
    await bringBack("green is open");
    const id = (
      JSON.parse(await readFile(join(bench.directory("state"), "current.json"), "utf8")) as { deployment_id: string }
    ).deployment_id;
    const { problems, runs } = await cutShort(recordOf(id), {
      reset: () => bringBack("green is open"),
      check: async () => {
        const done = (await history()).filter((one) => one.deployment_id === id && one.event === "succeeded");
        const state = deploymentStateSchema.parse(
          JSON.parse(await readFile(join(bench.directory("state"), "deployment-state.json"), "utf8")),
        );
        return [
          ...(await wholeState()),
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
      (fault) => bench.run("fail", { phase: "build", version: v2.version, error: "no image" }, { fault }),
      {
        reset: () => bringBack("green is open"),
        check: async () => {
          const failed = (await history()).filter((one) => one.event === "failed");
          return [...(await wholeState()), ...(failed.length === 1 ? [] : [`it failed ${failed.length} times`])];
        },
      },
    );
    expect(problems).toEqual([]);
    console.log(`fail: ${runs} runs`);
  });
});
