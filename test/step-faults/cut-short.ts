/** Checks a step that is cut short: at each write in turn, with each kind of fault, and the same step again. */
import { cp, mkdtemp, readdir, readFile, rm, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import {
  currentSchema,
  deploymentStateSchema,
  historyEventSchema,
  type HistoryEvent,
} from "../../ops/contract/deployment-state.ts";
import type { StepName } from "../../ops/contract/steps.ts";
import type { Ended, Fault, Workbench, Write } from "./workbench.ts";

/** A deployment's records, in the directories of a workbench. */
export class Books {
  private readonly bench: Workbench;
  private kept = "";

  constructor(bench: Workbench) {
    this.bench = bench;
  }

  async setUp(): Promise<void> {
    this.kept = await mkdtemp(join(tmpdir(), "togather-kept-"));
  }
  async tearDown(): Promise<void> {
    await rm(this.kept, { recursive: true, force: true });
  }

  /** The state and log directories as they are, to come back to. */
  async keep(name: string): Promise<void> {
    for (const disk of ["state", "logs"] as const)
      await cp(this.bench.directory(disk), join(this.kept, name, disk), { recursive: true });
  }
  async bringBack(name: string): Promise<void> {
    await this.bench.clear("state", "logs");
    for (const disk of ["state", "logs"] as const)
      await cp(join(this.kept, name, disk), this.bench.directory(disk), { recursive: true });
  }

  /** Everything that is read later can be read, and nothing half-written lies about. */
  async problems(): Promise<string[]> {
    const problems: string[] = [];
    const files = await readdir(this.bench.directory("state"));
    const read = (file: string): Promise<string> => readFile(join(this.bench.directory("state"), file), "utf8");
    for (const file of files) {
      if (file.endsWith(".tmp")) problems.push(`${file} is left`);
      const schema = { "current.json": currentSchema, "deployment-state.json": deploymentStateSchema }[file];
      if (schema?.safeParse(JSON.parse(await read(file))).success === false) problems.push(`${file} can't be read`);
    }
    return problems;
  }

  async history(): Promise<HistoryEvent[]> {
    const text = await readFile(join(this.bench.directory("state"), "history.jsonl"), "utf8");
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
}

/** Makes what is half-written an hour old. */
async function age(bench: Workbench): Promise<void> {
  const then = new Date(Date.now() - 3_600_000);
  for (const disk of ["state", "backups"] as const) {
    const files = (await readdir(bench.directory(disk))).filter((file) => file.endsWith(".tmp"));
    await Promise.all(files.map((file) => utimes(join(bench.directory(disk), file), then, then)));
  }
}

/** Runs a step once for each of its writes and each kind of fault, and again; returns the problems. */
export async function cutShort<S extends StepName>(
  bench: Workbench,
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
    /** Problems after it has run again. */
    check: (again: Ended<S>) => Promise<string[]>;
    /** Problems, or wrong messages, right after the fault. */
    cut?: (first: Ended<S>, fault: Fault, write: Write) => Promise<string[]>;
    kinds?: Fault["kind"][];
    choose?: (write: Write, all: readonly Write[]) => boolean;
  },
): Promise<{ problems: string[]; runs: number; writes: Write[] }> {
  await reset();
  const plain = await run();
  if (plain.exitCode !== 0) throw new Error(plain.said);
  const wrong = await check(plain);
  if (wrong.length > 0) throw new Error(`without a fault: ${wrong.join("; ")}`);
  const problems: string[] = [];
  let runs = 0;
  for (const write of plain.writes.filter((one) => choose(one, plain.writes))) {
    for (const kind of kinds) {
      const isFileWrite = write.where.startsWith("/");
      const canTear = write.what === "write" || write.what === "spawn";
      // A write, or a program, that is torn stands for one that has not begun; what is not on disk yet is lost with the machine only.
      if (write.what === "sync" || (kind === "kill" && canTear && kinds.includes("tear"))) continue;
      if (kind === "tear" && !canTear) continue;
      if (kind === "full" && (!isFileWrite || write.what === "rename" || write.what === "rm")) continue;
      const fault = { kind, at: write };
      const about = `${kind} at ${write.what} ${write.where}, time ${write.nth}`;
      await reset();
      const first = await run(fault);
      runs += 1;
      // A stream is written in as many pieces as it happens to come in.
      const reached = first.writes.some((one) => isDeepStrictEqual(one, write));
      if (reached && kind !== "full" && first.exitCode !== 137)
        problems.push(`${about}: it ended with ${first.exitCode}`);
      const found = await cut(first, fault, write);
      // An hour later.
      await age(bench);
      const again = await run();
      if (again.exitCode !== 0) found.push(`the next run failed: ${again.said}`);
      else found.push(...(await check(again)));
      problems.push(...found.map((problem) => `${about}: ${problem}`));
    }
  }
  return { problems, runs, writes: plain.writes };
}
