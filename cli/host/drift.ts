import { slotNames } from "../../ops/contract/steps.ts";
import { plainSetting } from "../../config/release.ts";
import { describeRelease, isSameRelease } from "../../ops/contract/release.ts";
import type { PlainSettings, StackFile } from "../stack-file.ts";
import type { HostReport } from "./look.ts";

/** Where what the stack file wants, what is recorded, and what is there differ. Empty when all agree. */
export function driftOf(
  file: Pick<StackFile, "name">,
  settings: Pick<PlainSettings, "activeSlot" | "slots"> & Partial<Pick<PlainSettings, "standby">>,
  { slots, router, state }: HostReport,
): string[] {
  const drift: string[] = [];
  if (router.slot !== undefined && router.slot !== settings.activeSlot)
    drift.push(`${file.name} wants ${settings.activeSlot} to serve, ${router.slot} does`);
  for (const slot of slotNames) {
    const setting = settings.slots[slot];
    const wanted = setting && plainSetting(setting);
    const { container, release } = slots[slot];
    if (wanted === undefined && container !== undefined)
      drift.push(
        `${slot} runs ${release === undefined ? "a container" : describeRelease(release)}, ${file.name} wants nothing in it`,
      );
    else if (
      wanted !== undefined &&
      container === undefined &&
      !(settings.standby === "removed" && slot !== settings.activeSlot)
    )
      drift.push(`${slot} has no container, ${file.name} wants ${describeRelease(wanted)} in it`);
    else if (wanted !== undefined && release !== undefined && !isSameRelease(wanted, release))
      drift.push(`${slot} runs ${describeRelease(release)}, ${file.name} wants ${describeRelease(wanted)}`);
  }
  if (state !== undefined && router.slot !== undefined && state.active_slot !== router.slot)
    drift.push(
      `deployment-state.json says that ${state.active_slot} serves, the router sends requests to ${router.slot}`,
    );
  if (router.persisted !== undefined && router.slot !== undefined && router.persisted.slot !== router.slot)
    drift.push(`the router would come up on ${router.persisted.slot} after a restart`);
  return drift;
}
