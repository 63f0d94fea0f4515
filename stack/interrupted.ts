import { execFile } from "node:child_process";
import type { Settings } from "../config/settings.ts";
import { getOrganization, getProject, getStack, isDryRun, log } from "../config/pulumi-runtime.ts";
import { Refusal } from "../config/refusal.ts";
import { refusalVariable } from "../config/refusal-file.ts";
import { toRunError } from "../config/run-error.ts";
import { mayBeHalfMade, removeHalfMade, unknownParts } from "../ops/host/half-made.ts";
import { readInterruptedState, type InterruptedState } from "../ops/host/pending-operations.ts";
import { containerName } from "../ops/contract/names.ts";
import { StepError } from "../ops/contract/errors.ts";
import type { HostNow, Serving } from "../ops/host/serving-slot.ts";
import { hasEngine } from "./host-lock.ts";

/** Longest wait for the backend, in ms. */
const exportMs = 60_000;

/** What a killed run has left, once it is known. */
export type Interrupted = Promise<InterruptedState | undefined>;

/**
 * What the state says of a run before this one that was killed. This run holds the backend's lock: the state stays as it
 * is until something is registered, so that asking may go on beside other things.
 * Undefined in a preview, and where there is no CLI to ask: then a name that is taken is Pulumi's error.
 */
export function askInterrupted(): Interrupted {
  return isDryRun() ? Promise.resolve(undefined) : askState();
}

let stateAsked: Interrupted | undefined;

/** What the state says, also in a preview: asked once, however many want to know. */
export function askState(): Interrupted {
  if (!hasEngine()) return Promise.resolve(undefined);
  return (stateAsked ??= exportedState());
}

function exportedState(): Interrupted {
  const stack = `${getOrganization()}/${getProject()}/${getStack()}`;
  return new Promise((resolve) => {
    execFile(
      "pulumi",
      ["stack", "export", "--stack", stack, "--non-interactive"],
      { timeout: exportMs, maxBuffer: 1 << 30 },
      (error, stdout, stderr) => {
        try {
          if (error) throw new Error(stderr.trim() === "" ? error.message : stderr.trim());
          resolve(readInterruptedState(stdout));
        } catch (problem) {
          void log.debug(`what an interrupted run has left is not known: ${String(problem)}`);
          resolve(undefined);
        }
      },
    );
  });
}

/**
 * Removes what a killed run has made on the Docker host and not written down, so that this one can make it again. Only
 * with the lock in hand; never the slot that serves.
 * @throws {RunError} when it can't be removed.
 */
export async function removeInterrupted(
  { name, host }: Pick<Settings, "name" | "host">,
  serving: Serving | undefined,
  asked: Interrupted,
): Promise<void> {
  const state = await asked;
  if (state === undefined || mayBeHalfMade(state).length === 0) return;
  const removed = await removeHalfMade({ name, host, serving: serving?.slot }, state).catch((error: unknown) => {
    throw toRunError(error);
  });
  for (const { kind, name: what } of removed) {
    await log.warn(
      `Removed the ${kind} ${what}: a run of Pulumi was killed while it made it, so that the state does not know it. It is made again.`,
    );
  }
}

/** Containers that both slots need, and that a run makes anew because Pulumi has read them while they did not run; in words. */
async function unreadText({ name }: Pick<Settings, "name">, { states }: Pick<HostNow, "states">, asked: Interrupted) {
  const state = await asked;
  // One that is gone is made anew in any case.
  const parts = (["database", "router"] as const).filter(
    (part) => states[part] !== undefined && state?.unread.includes(containerName(name, part)) === true,
  );
  if (parts.length === 0) return undefined;
  return `Pulumi has read the ${parts.join("'s and the ")}'s container while it did not run (pulumi refresh), and pulumi up makes it anew, which INTERRUPTS: requests fail until the new one answers, some seconds later. togather up keeps it.`;
}

/**
 * Has the command that runs this program put the state right first, where it would interrupt what both slots need for nothing; a plain run says so.
 * @throws {Refusal} where there is such a command.
 */
export async function refuseUnread(
  settings: Pick<Settings, "name">,
  now: Pick<HostNow, "states">,
  asked: Interrupted,
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const text = await unreadText(settings, now, asked);
  if (text === undefined) return;
  if (env[refusalVariable] !== undefined) throw new Refusal("unread", text);
  await log.warn(text);
}

/** Says in a preview what would interrupt. */
export async function warnOfUnread(settings: Pick<Settings, "name">, now: Pick<HostNow, "states">): Promise<void> {
  const text = await unreadText(settings, now, askState());
  if (text !== undefined) await log.warn(text);
}

/**
 * Refuses to go on where containers of the deployment are there that the state does not know, nor a run that was killed while it
 * made them: the state was lost, or is another one's. Pulumi would fail at the first name that is taken, half-way.
 * @throws {RunError} that names them.
 */
export async function refuseUnknown(
  { name }: Pick<Settings, "name">,
  { ids }: Pick<HostNow, "ids">,
  asked: Interrupted,
): Promise<void> {
  const state = await asked;
  if (state === undefined) return;
  const unknown = unknownParts(name, ids, state)
    .map((part) => containerName(name, part))
    .sort();
  if (unknown.length === 0) return;
  const stack = getStack();
  throw toRunError(
    new StepError(
      `Pulumi's state of ${stack} does not know ${unknown.join(", ")}, which ${unknown.length === 1 ? "is" : "are"} on the Docker host: the state was lost or is an older copy, or the deployment is another stack's. Nothing was changed`,
      {
        hint: `where the state is gone, or an older copy: togather import --stack ${stack} takes what runs into it, and touches nothing; where another backend has it: pulumi login to that one; where it is another deployment: set togather:name`,
      },
    ),
  );
}
