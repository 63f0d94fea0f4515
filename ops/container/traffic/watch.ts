/** Watches a release that gets requests: by the router's counters, and by asking it. */
import { setTimeout as sleep } from "node:timers/promises";
import type { StepLog } from "../../contract/context.ts";
import type { SlotName } from "../../contract/steps.ts";
import { messageOf } from "../../contract/errors.ts";
import { judge, minimumRequests } from "./judge.ts";
import type { RouterControl } from "./router-control.ts";
import { between, type Sample } from "./sample.ts";

/** Pause between two looks, in ms: short for a short watch, once a second at most. */
const lookMs = (durationMs: number): number => Math.min(1_000, Math.max(100, durationMs / 20));
/** Number of looks in a row with an unhealthy server that count as a failure. */
const unwellLooks = 3;
const progressMs = 10_000;

export interface Watch {
  /** Description of the watched release for people: "green with 5 % of the requests". */
  what: string;
  durationMs: number;
  slot: SlotName;
  other: SlotName;
  control: RouterControl;
  /** The previous release's requests. Default: those of the other slot in the same time. */
  before?: Sample | undefined;
  /** A problem of the server itself. Undefined: none. */
  ask: () => Promise<string | undefined>;
  /** Called at each look. */
  renew?: () => Promise<void>;
  log: StepLog;
  signal: AbortSignal;
}

/**
 * Watches until the time is over.
 * @returns the samples of both slots.
 * @throws the problem, when the release does worse than the previous one; the signal's reason when it is aborted.
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
    // A restarted router has forgotten the canary, and is told again at the next look.
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
