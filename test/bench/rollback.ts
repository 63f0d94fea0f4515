import { setTimeout as sleep } from "node:timers/promises";
import { TestStack } from "../integration/stack.ts";
import { median, type Comparison } from "./report.ts";

/** Counted runs of each, after one that warms up. */
const runs = 5;

/** Between two questions, in ms. Each takes from the processors that the deployment needs; a hundredth of what is measured is near enough. */
const askMs = 50;

/** Asks until a slot answers. @throws the signal's reason. */
async function untilServes(url: string, slot: string, signal: AbortSignal): Promise<void> {
  for (;;) {
    const response = await fetch(url, { signal });
    await response.text();
    if (response.headers.get("x-togather-slot") === slot) return;
    await sleep(askMs, undefined, { signal });
  }
}

/** From the command's start to the first request that the other slot answers, against a no-op `pulumi up`, in turn in one run. Target: at most 1.5 times. */
export async function benchRollback(progress: (line: string) => void): Promise<Comparison[]> {
  progress("deploying a stack with two releases");
  const stack = await TestStack.create();
  try {
    const slots = { blue: await stack.commit("v1.0.0"), green: await stack.commit("v1.1.0") };
    for (const activeSlot of ["blue", "green"]) {
      stack.set({ slots, activeSlot });
      const up = await stack.run("up");
      if (!up.ok) throw new Error(up.output);
    }
    const ours: number[] = [];
    const whole: number[] = [];
    const baseline: number[] = [];
    for (let run = 0; run <= runs; run++) {
      const noop = await stack.run("up");
      if (Object.keys(noop.changes).join() !== "unchanged") throw new Error(`the up is not a no-op:\n${noop.output}`);
      const to = run % 2 === 0 ? "blue" : "green";
      stack.set({ activeSlot: to });
      const started = performance.now();
      const flip = stack.run("up");
      const watched = new AbortController();
      const moving = untilServes(stack.url("/healthz"), to, watched.signal).then(() => performance.now() - started);
      const { ok, output, durationMs } = await flip.finally(() => {
        // A moment more, for the last question to be answered.
        setTimeout(() => {
          watched.abort(new Error("the command is over, and traffic has not moved"));
        }, 1_000);
      });
      if (!ok) throw new Error(output);
      const moved = await moving;
      progress(
        `run ${run} of ${runs}: traffic moved after ${Math.round(moved)} ms, the rollback took ${Math.round(durationMs)} ms, a no-op ${Math.round(noop.durationMs)} ms`,
      );
      if (run === 0) continue;
      ours.push(moved);
      whole.push(durationMs);
      baseline.push(noop.durationMs);
    }
    return [
      {
        name: "rollback, until the other slot answers, against a no-op up",
        unit: "ms",
        ours: median(ours),
        baseline: median(baseline),
        target: "<= 1.5",
        met: median(ours) / median(baseline) <= 1.5,
      },
      {
        name: "rollback, the whole command, against 4 s",
        unit: "ms",
        ours: median(whole),
        baseline: 4_000,
        target: "<= 1",
        met: median(whole) <= 4_000,
      },
    ];
  } finally {
    await stack.run("destroy");
    await stack.remove();
  }
}
