import { SettingsError } from "../config/problems.ts";
import type { Settings } from "../config/load.ts";
import { toRunError } from "../config/run-error.ts";
import { servingSlot, type Serving } from "../ops/client/serving-slot.ts";
import { plainRelease } from "./releases.ts";

/**
 * Refuses a change to the release in the slot that serves: its container would be replaced under its requests.
 * @throws {SettingsError} unless `togather:force` is set.
 */
export function refuseChangeInPlace(settings: Settings, serving: Serving | undefined): void {
  if (serving === undefined || settings.force) return;
  const wanted = settings.slots[serving.slot];
  const idle = serving.slot === "blue" ? "green" : "blue";
  const { version, commit } = serving.release;
  if (wanted !== undefined && plainRelease(wanted).commit === commit && wanted.version === version) return;
  throw new SettingsError([
    {
      where: `togather:slots.${serving.slot}`,
      what: `${serving.slot} serves ${version} (${commit.slice(0, 12)}) and can't be changed to ${wanted === undefined ? "nothing" : `${wanted.version} (${wanted.commit.slice(0, 12)})`} in place`,
      fix: `leave ${serving.slot} as it was, put the release into togather:slots.${idle} and set togather:activeSlot ${idle}; or accept an interruption with pulumi config set togather:force true`,
    },
  ]);
}

/**
 * What takes requests now, as the Docker host tells. Not the stack's own outputs: they are what was true when a run last
 * ended well.
 * @throws {pulumi.RunError} when the host doesn't answer.
 */
export async function askServing({ name, host }: Pick<Settings, "name" | "host">): Promise<Serving | undefined> {
  try {
    return await servingSlot(name, host);
  } catch (error) {
    throw toRunError(error);
  }
}
