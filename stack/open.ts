/**
 * The beginning of a run, before any resource is declared: the lock, the slot that serves, remains of a killed run,
 * stopped containers.
 */
import type { Settings } from "../config/settings.ts";
import { isDryRun, log } from "../config/pulumi-runtime.ts";
import { orRunError } from "../config/run-error.ts";
import { contextAddress } from "../ops/host/docker-context.ts";
import { pullMissing } from "../ops/host/pull-missing.ts";
import type { SlotName } from "../ops/contract/steps.ts";
import type { HostNow, Part, Serving } from "../ops/host/serving-slot.ts";
import { startStopped } from "../ops/host/start-stopped.ts";
import { refuseElsewhere } from "./elsewhere.ts";
import { holdHostLock } from "./host-lock.ts";
import {
  askInterrupted,
  askState,
  refuseUnknown,
  refuseUnread,
  removeInterrupted,
  warnOfUnread,
  type Interrupted,
} from "./interrupted.ts";
import { askServing, hadOf, hostDifferences, refuseChangeInPlace, refuseSentBack, type HostBefore } from "./serving.ts";
import { differenceText, type Difference } from "../config/differences.ts";
import { maintenanceText } from "../config/maintenance.ts";
import { containerName } from "../ops/contract/names.ts";

/** An opened deployment: all questions are under way. */
export interface Opening {
  /** Resolves once this run holds the lock; at once in a preview. */
  locked: Promise<void>;
  /** The Docker host's state once the lock is held; empty in an environment without slots. */
  now: Promise<HostBefore>;
  interrupted: Interrupted;
}

const emptyHost: HostNow = {
  serving: undefined,
  router: undefined,
  held: {},
  served: {},
  states: {},
  ids: {},
  databaseUrls: {},
};

/**
 * Takes the lock and asks the Docker host.
 * @param env the environment of the program.
 * @throws {RunError} when a Docker client's context leads to no engine.
 */
export function open(settings: Settings, env: NodeJS.ProcessEnv): Opening {
  // Before the lock, which would otherwise be taken on another engine than the containers'.
  if (settings.host === "") orRunError(() => contextAddress(env));
  const interrupted = askInterrupted();
  const locked = holdHostLock(settings, env["TOGATHER_LOCK"]);
  // The answer is only reliable while nobody else deploys; a preview takes no lock and waits for none.
  const now = locked.then(async () => {
    if (!settings.rules.blueGreen) return emptyHost;
    const host = await askServing(settings);
    const state = isDryRun() ? askState : (): Interrupted => interrupted;
    return { ...host, had: await hadOf(settings, host, async () => (await state())?.containers) };
  });
  // The stack itself waits for it, and reports a failure.
  now.catch(() => undefined);
  return { locked, now, interrupted };
}

/**
 * The slot that serves, once it is known that this run may make its changes.
 * @param env the environment of the program.
 * @throws {RunError} when it would change the slot that serves, or release again what was sent back, or go to another
 * Docker host.
 */
export async function servingUnlessRefused(
  settings: Settings,
  { now, interrupted }: Opening,
  env: NodeJS.ProcessEnv,
): Promise<Serving | undefined> {
  const { serving, router, ids } = await now;
  await refuseElsewhere(settings, { ids }, interrupted, env);
  orRunError(() => {
    refuseChangeInPlace(settings, serving);
    refuseSentBack(settings, { serving, router });
  });
  return serving;
}

/**
 * Prepares the host before the engine reads it: removes half-made objects, starts stopped containers, pulls missing
 * images.
 */
export async function putInOrder(
  settings: Settings,
  { now, interrupted }: Opening,
  env: NodeJS.ProcessEnv,
): Promise<void> {
  const host = await now;
  await refuseUnknown(settings, host, interrupted);
  await refuseUnread(settings, host, interrupted, env);
  await removeInterrupted(settings, host.serving, interrupted);
  const say = (sentence: string, failed: boolean): Promise<unknown> =>
    failed ? log.error(sentence) : log.warn(sentence);
  const found = hostDifferences(settings, host);
  const down = found.flatMap((one) =>
    one.kind === "down" ? [{ ...one, container: containerName(settings.name, one.part) }] : [],
  );
  if (down.length > 0) await startStopped(settings.host, down, say);
  const images = found.flatMap((one) => {
    if (one.kind !== "missing" || one.part === "database" || one.part === "router") return [];
    const source = settings.slots[one.part]?.source;
    return source?.kind === "image" ? [source.reference] : [];
  });
  if (images.length > 0) await pullMissing(settings.host, images, say);
}

/** Differences on the host, as texts that make a step run again. */
export interface Found {
  /** State of a container that should run and did not, with the time: each stop needs a new text. */
  down: (part: Part) => string | undefined;
  /** A slot that should have a container and has none. */
  missing: (slot: SlotName) => string | undefined;
  /** The router, where it is not on the slot that is to serve. */
  router: string | undefined;
}

/** Reports, in a preview, what will be mended. The plan reports moves of traffic and new releases. */
function sayRepair(found: Difference, name: string): void {
  const repair =
    found.kind === "down"
      ? "pulumi up starts it again"
      : found.kind === "restart"
        ? "pulumi up writes it anew"
        : found.kind === "missing" && found.repair === "make"
          ? "togather up, or pulumi up --refresh --run-program, makes it again"
          : undefined;
  if (repair !== undefined) void log.warn(`${differenceText(found, { name, file: "the stack" })}: ${repair}.`);
}

/** The differences on a host that a run has to mend. In a preview it reports them. */
export function whatWasFound(settings: Settings, host: HostBefore): Found {
  const maintenance = host.router?.maintenance;
  if (maintenance !== undefined)
    void log.warn(
      `${maintenanceText(maintenance)} A deployment changes nothing about that: togather maintenance off ends it.`,
    );
  const [found, at] = [hostDifferences(settings, host), new Date().toISOString()];
  if (isDryRun()) {
    for (const one of found) sayRepair(one, settings.name);
    // Where everything runs, a preview need not read the state.
    if (found.some(({ kind }) => kind === "down")) void warnOfUnread(settings, host).catch(() => undefined);
  }
  const down = (part: Part): string | undefined => {
    const stopped = found.find((one) => one.kind === "down" && one.part === part);
    return stopped?.kind === "down" ? `${stopped.state} at ${at}` : undefined;
  };
  return {
    down,
    missing: (slot) =>
      found.some((one) => one.kind === "missing" && one.part === slot) ? `no container at ${at}` : undefined,
    router: found.some(({ repair }) => repair === "switch") ? host.router?.mark : undefined,
  };
}
