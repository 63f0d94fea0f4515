/** The checks after the switch: requests the configured public paths through the router. */
import { setTimeout as sleep } from "node:timers/promises";
import type { EndpointCheck, SlotName } from "../../contract/steps.ts";
import { messageOf } from "../../contract/errors.ts";
import { askThroughRouter, wrongSlot, type Pass } from "./through-router.ts";

/** All checks pass this many times in a row, ... */
const passesInARow = 3;
const betweenRoundsMs = 250;
/** ... within this time, in ms. A lost answer or a cold cache fits into it. */
const withinMs = 10_000;

export interface PostSwitch {
  routerUrl: string;
  activeSlot: SlotName;
  checks: readonly EndpointCheck[];
  /** Past maintenance, where that is on. */
  pass?: Pass | undefined;
}

/** The problem that one check found. Undefined: it passes. */
async function problemOf(
  { path, status }: EndpointCheck,
  { routerUrl, activeSlot, pass }: PostSwitch,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const answer = await askThroughRouter(new URL(path, routerUrl), { signal }, pass);
    const served = wrongSlot(answer, activeSlot);
    if (served !== undefined) return `${path} was answered by ${served}`;
    return answer.status === status ? undefined : `${path} answers ${answer.status}, expected ${status}`;
  } catch (error) {
    return `${path}: ${messageOf(error)}`;
  }
}

/**
 * Asks until all checks have passed three times in a row.
 * @throws the last problem when they have not within ten seconds; the signal's reason when it is aborted.
 */
export async function checkAfterSwitch(what: PostSwitch, signal: AbortSignal): Promise<void> {
  if (what.checks.length === 0) return;
  const deadline = performance.now() + withinMs;
  let passed = 0;
  let problems: string[] = [];
  for (;;) {
    const found = (await Promise.all(what.checks.map((check) => problemOf(check, what, signal)))).filter(
      (problem) => problem !== undefined,
    );
    signal.throwIfAborted();
    passed = found.length === 0 ? passed + 1 : 0;
    if (passed === passesInARow) return;
    if (found.length > 0) problems = found;
    if (performance.now() > deadline) {
      throw new Error(
        `the checks after the switch did not pass ${passesInARow} times in a row within ${withinMs / 1000} s: ${problems.join("; ")}`,
      );
    }
    await sleep(betweenRoundsMs, undefined, { signal });
  }
}
