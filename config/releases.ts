import type { SlotRelease } from "./settings.ts";
import type { Release, SlotName } from "../ops/contract/steps.ts";

/** A release as requests carry it: what it is, not where it comes from. */
export function plainRelease({ version, commit }: SlotRelease): Release {
  return { version, commit };
}

/** The releases of all slots that hold one. */
export function plainReleases(slots: Partial<Record<SlotName, SlotRelease>>): Partial<Record<SlotName, Release>> {
  return Object.fromEntries(Object.entries(slots).map(([slot, release]) => [slot, plainRelease(release)]));
}
