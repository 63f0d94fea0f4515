import { setTimeout as sleep } from "node:timers/promises";
import { TestStack } from "../integration/stack.ts";
import { median, type Comparison } from "./report.ts";

/** Counted rounds, after one that warms up. */
const rounds = 5;

/**
 * Pause between two questions, in ms. Each uses processor time that the deployment needs; a hundredth of the measured
 * time is exact enough.
 */
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

/** Duration of a typed command from outside, and the time until the target slot's first answer; in ms. */
async function typed(stack: TestStack, command: string, to: string): Promise<{ whole: number; moved: number }> {
  const watched = new AbortController();
  const started = performance.now();
  const took = (): number => performance.now() - started;
  const moving = untilServes(stack.url("/healthz"), to, watched.signal).then(took);
  // A failing command reports itself.
  moving.catch(() => undefined);
  await stack.npmRun(`togather -- ${command} --stack ${stack.name}`).finally(() => {
    // A moment more, for the last question to be answered.
    setTimeout(() => {
      watched.abort(new Error("the command is over, and traffic has not moved"));
    }, 1_000);
  });
  const whole = took();
  return { whole, moved: await moving };
}

/**
 * A release of an empty commit and its rollback, as typed commands, in turn in one run, against two kinds of a no-op
 * up: as typed (which previews first), and without npm and preview. Targets: 4 times and 1.5 times.
 */
export async function benchDeployments(progress: (line: string) => void): Promise<Comparison[]> {
  progress("deploying a stack");
  const stack = await TestStack.create();
  try {
    stack.set({ slots: { blue: await stack.commitTagged("v0") }, activeSlot: "blue" });
    const up = await stack.run("up");
    if (!up.ok) throw new Error(up.output);
    const took: Record<"noop" | "bare" | "released" | "rolledBack" | "moved", number[]> = {
      noop: [],
      bare: [],
      released: [],
      rolledBack: [],
      moved: [],
    };
    for (let round = 0; round <= rounds; round++) {
      const bare = await stack.run("up");
      if (Object.keys(bare.changes).join() !== "unchanged") throw new Error(`the up is not a no-op:\n${bare.output}`);
      const started = performance.now();
      await stack.npmRun(`pulumi -- up --yes --stack ${stack.name}`);
      const noop = performance.now() - started;
      const { version } = await stack.commitTagged(`v${round + 1}`);
      const release = await typed(stack, `release ${version}`, "green");
      const rollback = await typed(stack, "rollback", "blue");
      progress(
        `round ${round} of ${rounds}: a no-op up ${Math.round(noop)} ms (without npm and preview ${bare.durationMs} ms), the release ${Math.round(release.whole)} ms, the rollback ${Math.round(rollback.whole)} ms (traffic moved after ${Math.round(rollback.moved)} ms)`,
      );
      if (round === 0) continue;
      took.noop.push(noop);
      took.bare.push(bare.durationMs);
      took.released.push(release.whole);
      took.rolledBack.push(rollback.whole);
      took.moved.push(rollback.moved);
    }
    const against = (
      name: string,
      ours: "released" | "rolledBack" | "moved",
      baseline: "noop" | "bare",
      atMost: number,
    ): Comparison => ({
      name: `${name}, against a no-op \`pulumi up\`${baseline === "noop" ? "" : " without npm and preview"}`,
      unit: "ms",
      ours: median(took[ours]),
      baseline: median(took[baseline]),
      target: `<= ${atMost}`,
      met: median(took[ours]) / median(took[baseline]) <= atMost,
    });
    return [
      against("`togather rollback`, until the other slot answers", "moved", "noop", 1.5),
      against("`togather rollback`", "rolledBack", "noop", 1.5),
      against("`togather rollback`", "rolledBack", "bare", 1.5),
      against("`togather release` of an empty commit", "released", "noop", 4),
      against("`togather release` of an empty commit", "released", "bare", 4),
    ];
  } finally {
    await stack.run("destroy");
    await stack.remove();
  }
}
