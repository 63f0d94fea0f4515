/**
 * The lock of a deployment, held by a command while it works on the database, and for the deployments that it runs
 * meanwhile.
 */
import { randomBytes } from "node:crypto";
import { lockFile, takeHostLock, thisHolder } from "../../ops/host/host-lock.ts";
import type { Before } from "../../config/plan.ts";
import { Failure } from "../failure.ts";
import type { Output } from "../output.ts";
import type { PlainSettings } from "../stack-file.ts";

/** A lock that is held. */
export interface HeldLock {
  /** The id for deployments that the command runs, so that they take no lock of their own. */
  id: string;
  /** Holds it while a process lives, even if this one is killed. */
  keepFor: (pid: number) => void;
}

/**
 * Runs while no deployment can.
 * @param use gets a signal, which is aborted by Ctrl-C and when the lock is lost, with the reason as text; and the
 * lock, unless it was bypassed by force.
 * @throws {Failure} at once when somebody else holds it, unless forced.
 */
export async function withHostLock<T>(
  about: { settings: PlainSettings; stack: string; before: Before; output: Output; force: boolean; why: string },
  use: (signal: AbortSignal, lock: HeldLock | undefined) => Promise<T>,
): Promise<T> {
  const { settings, stack, before, output, force, why } = about;
  const { name, host, activeSlot } = settings;
  const stop = new AbortController();
  const id = randomBytes(8).toString("hex");
  const result = await takeHostLock({
    name,
    host,
    force,
    engine: undefined,
    holder: thisHolder({
      stack: `${stack} (${why})`,
      active_slot: before.serving?.slot ?? activeSlot,
      slots: before.slots,
      lock_id: id,
      directories: { stateLocation: settings.stateLocation, logLocation: settings.logLocation },
    }),
    onWait: (reason) => {
      output.say(`Waiting for the Docker host, which holds the lock: ${reason}.`);
    },
    onLost: () => {
      stop.abort(`${lockFile(name)} is lost`);
    },
  });
  if (!result.held) {
    const { holder } = result;
    const by =
      holder === undefined
        ? "somebody who has left no name"
        : `${holder.held_by}, pid ${holder.pid}, since ${holder.since}, for ${holder.stack}`;
    if (!force)
      throw new Failure(
        "lock",
        `the deployment ${name} is locked: another one is running. Nothing was changed.\n  held by: ${by}\n  lock: ${lockFile(name)}`,
        "wait until it has ended and run this again",
      );
    output.warn(`--force: ${lockFile(name)} is held by ${by}`);
  }
  const interrupts = (["SIGINT", "SIGTERM", "SIGHUP"] as const).map(
    (signal) =>
      [
        signal,
        () => {
          stop.abort(signal);
        },
      ] as const,
  );
  for (const [signal, handler] of interrupts) process.on(signal, handler);
  try {
    return await use(stop.signal, result.held ? { id, keepFor: result.keepFor } : undefined);
  } finally {
    for (const [signal, handler] of interrupts) process.off(signal, handler);
    if (result.held) await result.release();
  }
}
