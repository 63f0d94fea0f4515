/** Watching a release that gets requests: by the router's own counters, and by asking it. */
import { setTimeout as sleep } from "node:timers/promises";
import type { StepLog } from "../../contract/context.ts";
import type { SlotName } from "../../contract/steps.ts";
import { messageOf } from "../../contract/errors.ts";
import { judge, minimumRequests } from "./judge.ts";
import type { RouterControl } from "./router-control.ts";
import { between, type Sample } from "./sample.ts";

/** Time between two looks: as often as a short watch needs it, once a second at most. */
const lookMs = (durationMs: number): number => Math.min(1_000, Math.max(100, durationMs / 20));
/** So many looks in a row at which the server itself was not well are a failure. */
const unwellLooks = 3;
const progressMs = 10_000;

export interface Watch {
  /** What is watched, for people: "green with 5 % of the requests". */
  what: string;
  durationMs: number;
  slot: SlotName;
  other: SlotName;
  control: RouterControl;
  /** The requests of the release before; those of the other slot in the same time unless given. */
  before?: Sample | undefined;
  /** What is wrong with the server itself; undefined when nothing is. */
  ask: () => Promise<string | undefined>;
  /** Called at each look. */
  renew?: () => Promise<void>;
  log: StepLog;
  signal: AbortSignal;
}

/**
 * Watches until the time is over.
 * @returns what both slots got.
 * @throws what is wrong, when the release does worse than the one before; the signal's reason when it is aborted.
 */
export async function watchRelease(watch: Watch): Promise<{ now: Sample; other: Sample }> {
  const { what, durationMs, slot, other, control, log, signal } = watch;
  const start = await control.counters(signal);
  const started = performance.now();
  let unwell = 0;
  let told = started;
  for (;;) {
    const left = durationMs - (performance.now() - started);
    await sleep(Math.max(0, Math.min(lookMs(durationMs), left)), undefined, { signal });
    // A router that is being restarted has forgotten, and is told again at the next look.
    await watch.renew?.().catch((error: unknown) => {
      log.warn(`the router can't be told: ${messageOf(error)}`);
    });
    const [counters, problem] = await Promise.all([control.counters(signal), watch.ask()]);
    signal.throwIfAborted();
    const now = between(start[slot], counters[slot], counters.bounds);
    const meanwhile = between(start[other], counters[other], counters.bounds);
    const verdict = judge(now, watch.before ?? meanwhile, watch.before === undefined);
    if (verdict !== undefined) throw new Error(verdict);
    unwell = problem === undefined ? 0 : unwell + 1;
    if (problem !== undefined && unwell === unwellLooks) throw new Error(problem);
    const elapsed = performance.now() - started;
    if (elapsed >= durationMs) {
      const few = now.requests < minimumRequests ? `; fewer than ${minimumRequests} requests say nothing` : "";
      log[few === "" ? "info" : "warn"](
        `${what} for ${(durationMs / 1000).toFixed(0)} s: ${now.requests} requests, ${now.errors} failed${few}`,
        { requests: now.requests, errors: now.errors },
      );
      return { now, other: meanwhile };
    }
    if (performance.now() - told >= progressMs) {
      told = performance.now();
      log.info(
        `${what}: ${now.requests} requests, ${now.errors} failed; ${((durationMs - elapsed) / 1000).toFixed(0)} s left`,
      );
    }
  }
}
