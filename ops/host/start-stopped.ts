/** Starts a deployment's stopped containers: Pulumi's state does not show that they don't run. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Part } from "./serving-slot.ts";
import { lastLines, tryDocker } from "./docker.ts";

/** A container that should run, with its current state. */
export interface Stopped {
  part: Part;
  container: string;
  /** Docker's name of the state: `exited`, `created`, `paused`, `dead`. */
  state: string;
}

/** Longest wait for the database, in ms. */
const databaseMs = 60_000;

/**
 * Starts them one after the other, in this order. Reports each in a sentence, also one that can't be started: whatever
 * depends on it then fails with its own error.
 */
export async function startStopped(
  host: string,
  stopped: readonly Stopped[],
  say: (sentence: string, failed: boolean) => Promise<unknown>,
): Promise<void> {
  const docker = (...args: string[]) => tryDocker(args, { host });
  for (const { part, container, state } of stopped) {
    const { ok, stderr } = await docker(state === "paused" ? "unpause" : "start", container);
    await say(
      ok
        ? `${container} was ${state}, and is started again.`
        : `${container} is ${state}, and can't be started: ${lastLines(stderr, 2)}`,
      !ok,
    );
    if (!ok || part !== "database") continue;
    const deadline = Date.now() + databaseMs;
    while (
      !(await docker("exec", container, "pg_isready", "--quiet", "--host=127.0.0.1", "--port=5432")).ok &&
      Date.now() < deadline
    )
      await sleep(250);
  }
}
