/** `--wait`: a deployment that waits until another one has ended, and then begins with what that has left. */
import { setTimeout as sleep } from "node:timers/promises";
import { hostLockHolder, lockFile } from "../../ops/host/host-lock.ts";
import { seconds } from "../../ops/contract/units.ts";
import { readContext, type DeployOptions, type ReadContext } from "../context.ts";
import { Failure } from "../failure.ts";
import { withHostLock } from "../snapshots/host-lock.ts";
import type { Deployment } from "./deployment.ts";

/** Between two looks at who holds the lock, in ms; ... */
const lookMs = 3_000;
/** ... and how often it is said that it is waited still. */
const sayMs = 60_000;

/** Says for whom it is waited: at once, and from time to time. */
function waitingSayer(output: ReadContext["output"]): (forWhom: string) => void {
  const began = Date.now();
  let said = 0;
  return (forWhom) => {
    if (Date.now() - said < sayMs) return;
    output.say(`Waiting for ${forWhom}${said === 0 ? "" : `: ${seconds(Date.now() - began)} until now`}`);
    said = Date.now();
  };
}

/** Waits as long as a deployment that has left its name holds the lock. */
async function untilFree({ settings: { name, host } }: ReadContext, say: (forWhom: string) => void): Promise<void> {
  for (;;) {
    const holder = await hostLockHolder(name, host);
    if (holder === undefined) return;
    say(`the deployment of ${holder.held_by}, pid ${holder.pid}, since ${holder.since} (${holder.stack})`);
    await sleep(lookMs);
  }
}

/**
 * Runs a command that deploys, with `--wait` once it holds the lock: whatever it reads is what the one before has left.
 * @param use is given the lock that it runs within; undefined without `--wait`, where each deployment takes its own.
 * @param takes its own lock, for several deployments: it is only waited for.
 * @returns what `use` returns: the exit code.
 */
export async function awaitingLock(
  options: DeployOptions,
  why: string,
  use: (within: Deployment["within"]) => Promise<number>,
  { takes = false }: { takes?: boolean } = {},
): Promise<number> {
  if (options.wait !== true || options.dryRun === true) return use(undefined);
  const read = await readContext(options);
  const say = waitingSayer(read.output);
  const state = { begun: false };
  for (;;) {
    await untilFree(read, say);
    if (takes) return use(undefined);
    try {
      const about = { settings: read.settings, stack: read.file.stack, output: read.output, why, force: false };
      return await withHostLock({ ...about, before: { serving: undefined, slots: {} } }, (signal, lock) => {
        state.begun = true;
        return use({ lock, signal });
      });
    } catch (error) {
      // Another one that waited was faster, or it is held by somebody who has left no name.
      if (state.begun || !(error instanceof Failure) || error.ending !== "lock") throw error;
      say(`whoever holds ${lockFile(read.settings.name)} on the Docker host`);
      await sleep(lookMs);
    }
  }
}
