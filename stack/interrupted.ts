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

/** The remains of a killed run, once they are known. */
export type Interrupted = Promise<InterruptedState | undefined>;

/**
 * The state's entries of an earlier run that was killed. This run holds the backend's lock: the state stays unchanged
 * until a resource is registered, so that the question can run beside other work. Undefined in a preview, and where
 * there is no CLI to ask: a taken name is then Pulumi's error.
 */
export function askInterrupted(): Interrupted {
  return isDryRun() ? Promise.resolve(undefined) : askState();
}

let stateAsked: Interrupted | undefined;

/** The state's entries, also in a preview: read once for all callers. */
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
 * Removes objects that a killed run has created on the Docker host and not recorded, so that this run can create them
 * again. Only with the lock held; never the slot that serves.
 * @throws {RunError} when one can't be removed.
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

/** Shared containers that a run would replace because they did not run when Pulumi read them; in words. */
async function unreadText({ name }: Pick<Settings, "name">, { states }: Pick<HostNow, "states">, asked: Interrupted) {
  const state = await asked;
  // A missing one is created again in any case.
  const parts = (["database", "router"] as const).filter(
    (part) => states[part] !== undefined && state?.unread.includes(containerName(name, part)) === true,
  );
  if (parts.length === 0) return undefined;
  return `Pulumi has read the ${parts.join("'s and the ")}'s container while it did not run (pulumi refresh), and pulumi up makes it anew, which INTERRUPTS: requests fail until the new one answers, some seconds later. togather up keeps it.`;
}

/**
 * Lets the command that runs this program correct the state first, where the run would otherwise interrupt shared parts
 * without need; a plain run prints a warning.
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

/** Warns, in a preview, of such an interruption. */
export async function warnOfUnread(settings: Pick<Settings, "name">, now: Pick<HostNow, "states">): Promise<void> {
  const text = await unreadText(settings, now, askState());
  if (text !== undefined) await log.warn(text);
}

/**
 * Refuses to continue where the host has containers of the deployment that neither the state nor a killed run's pending
 * operations contain: the state was lost, or belongs to another deployment. Pulumi would fail half-way, at the first
 * taken name.
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
