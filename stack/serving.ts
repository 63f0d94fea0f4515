import { containerName } from "../ops/contract/names.ts";
import { slotNames, type Release } from "../ops/contract/steps.ts";
import { SettingsError } from "../config/problems.ts";
import type { Settings } from "../config/settings.ts";
import { toRunError } from "../config/run-error.ts";
import { lookAtHost, type HostNow, type Serving } from "../ops/host/serving-slot.ts";
import { isNamedBy, isSameCommit, isSameRelease, otherSlot, typedCommit } from "../ops/contract/release.ts";
import { sentBackAs } from "../ops/contract/sent-back.ts";
import { differences, hadIn, startOf, type Difference, type RealNow, type WantedNow } from "../config/differences.ts";
import type { Before } from "../config/plan.ts";
import { plainRelease, plainReleases } from "../config/release.ts";

/** Whether the settings leave a slot as it serves now: its release, and its port for the router. */
export function staysInPlace(
  { slots, source }: Pick<Settings, "slots" | "source">,
  { slot, release, port }: Pick<Serving, "slot" | "release" | "port">,
): boolean {
  const wanted = slots[slot];
  return (
    wanted !== undefined && isSameRelease(plainRelease(wanted), release) && (port === undefined || port === source.port)
  );
}

/** A release in a form that an operator can type again. */
const named = (release: Release): string => `${release.version} (${typedCommit(release)})`;

/**
 * Refuses a change to the slot that serves: its container would be replaced under its requests.
 * @throws {SettingsError} unless `togather:force` is set.
 */
export function refuseChangeInPlace(settings: Settings, serving: Serving | undefined): void {
  if (serving === undefined || settings.force || staysInPlace(settings, serving)) return;
  const wanted = settings.slots[serving.slot];
  const idle = otherSlot(serving.slot);
  const force = "accept an interruption with pulumi config set togather:force true";
  if (wanted !== undefined && isSameRelease(plainRelease(wanted), serving.release)) {
    throw new SettingsError([
      {
        where: "togather:source.port",
        what: `${serving.slot} serves on port ${serving.port}, where the router has to find it, and can't be changed to ${settings.source.port} in place`,
        fix: `keep ${serving.port}: togather:source.portVariable is how a server is told its port; or ${force}`,
      },
    ]);
  }
  throw new SettingsError([
    {
      where: `togather:slots.${serving.slot}`,
      what: `${serving.slot} serves ${named(serving.release)} and can't be changed to ${wanted === undefined ? "nothing" : named(plainRelease(wanted))} in place`,
      fix: `leave ${serving.slot} as it was, put the release into togather:slots.${idle} and set togather:activeSlot ${idle}; or ${force}`,
    },
  ]);
}

/**
 * Refuses to move traffic to a release from which this host has sent it back, until somebody explicitly asks for it
 * again. A checkout that still names it does not ask for it: in CI the corrected stack file is gone with the runner.
 * @throws {SettingsError} unless `togather:releaseAgain` names it.
 */
export function refuseSentBack(
  { slots, activeSlot, releaseAgain }: Pick<Settings, "slots" | "activeSlot" | "releaseAgain">,
  { serving, router }: Pick<HostNow, "serving" | "router">,
): void {
  const wanted = slots[activeSlot];
  if (wanted === undefined || router?.slot === undefined || router.slot === activeSlot) return;
  const release = plainRelease(wanted);
  const sentBack = sentBackAs(router.sentBack, release);
  // A release that has kept all traffic in its slot may be returned to, whatever happened to the same release in the
  // other slot.
  const kept = serving?.served?.[activeSlot];
  if (sentBack === undefined || isNamedBy(releaseAgain, release) || (kept !== undefined && isSameCommit(kept, release)))
    return;
  const short = typedCommit(release);
  throw new SettingsError([
    {
      where: `togather:slots.${activeSlot}`,
      what: `${named(release)} was released on this host before, and all traffic was sent back from it at ${sentBack.at}${sentBack.why === "" ? "" : `: ${sentBack.why}`}. It is not released again by itself; ${router.slot} serves`,
      fix: `put a mended release into togather:slots.${activeSlot}; or set togather:activeSlot ${router.slot}; or, to release this one again on purpose, togather release ${short} --again, or pulumi config set togather:releaseAgain ${short}`,
    },
  ]);
}

type Asked = Pick<Settings, "activeSlot" | "slots" | "standby" | "database">;

/** The host's state, and the earlier releases of the slots. `had` undefined: `served` is enough. */
export type HostBefore = HostNow & { had?: RealNow["had"] | undefined };

/**
 * The earlier releases of slots without a container. A deployment may have removed a container on purpose: where that
 * matters, Pulumi's state shows it.
 * @param ask the names of the containers in the state; undefined where it can't be read.
 */
export async function hadOf(
  { name, slots }: Pick<Settings, "name" | "slots">,
  { served, states }: Pick<HostNow, "served" | "states">,
  ask: () => Promise<readonly string[] | undefined>,
): Promise<RealNow["had"]> {
  const wanted = plainReleases(slots);
  const unsure = slotNames.filter((slot) => states[slot] === undefined && isSameRelease(served[slot], wanted[slot]));
  const known = unsure.length === 0 ? undefined : await ask();
  const without = known === undefined ? [] : unsure.filter((slot) => !known.includes(containerName(name, slot)));
  return hadIn({ served, without });
}

function compared({ activeSlot, slots, standby, database }: Asked, { router, states, held, served, had }: HostBefore) {
  const wanted: WantedNow = {
    activeSlot,
    slots: plainReleases(slots),
    standby,
    bundledDatabase: database.mode === "bundled",
  };
  return { wanted, real: { router, states, held, had: had ?? hadIn({ served }) } satisfies RealNow };
}

/** The differences between the host and the settings. */
export function hostDifferences(settings: Asked, now: HostBefore): Difference[] {
  const { wanted, real } = compared(settings, now);
  return differences(wanted, undefined, real);
}

/** The starting point of a deployment, from the host's state. */
export function hostStart(settings: Asked, now: HostBefore): Before {
  const { wanted, real } = compared(settings, now);
  return startOf(wanted, real, now.served);
}

/**
 * The slot that takes requests now, from the Docker host. Not from the stack's own outputs, which are as old as the
 * last successful run.
 * @throws {RunError} when the host doesn't answer.
 */
export async function askServing({
  name,
  host,
  database,
}: Pick<Settings, "name" | "host" | "database">): Promise<HostNow> {
  try {
    return await lookAtHost(name, host, { databaseUrls: database.mode === "bundled" });
  } catch (error) {
    throw toRunError(error);
  }
}
