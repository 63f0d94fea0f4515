/**
 * The content of state/slot.json in the router's volume: the slot that nginx starts with, and the releases that have
 * served.
 */
import * as z from "zod";
import { isSameRelease } from "./release.ts";
import { sentBackSchema } from "./sent-back.ts";
import { releaseSchema, slotNameSchema, type Release, type SlotName } from "./slots.ts";

export const slotFileSchema = z.object({
  slot: slotNameSchema,
  changedAt: z.string(),
  /** The version in each slot, for the access log. */
  versions: z.partialRecord(slotNameSchema, z.string()).default({}),
  /**
   * The release of each slot that took over all traffic and kept it: a return to it is a rollback, and needs no trial.
   */
  served: z.partialRecord(slotNameSchema, releaseSchema).default({}),
  /**
   * Fingerprints (`containerPrint`) of the containers of those releases: the same release with other settings has
   * proved nothing. Missing in files of older versions.
   */
  proved: z.partialRecord(slotNameSchema, z.string()).default({}),
  /** Releases from which traffic was sent back. */
  sentBack: z.array(sentBackSchema).default([]),
});
export type SlotState = z.infer<typeof slotFileSchema>;
export const printsSchema = z.partialRecord(slotNameSchema, z.string());
/** Fingerprints of containers, by slot. Empty: they are unknown. */
export type Prints = z.infer<typeof printsSchema>;
/** The variable with which a switch's client passes them. */
export const printsVariable = "TOGATHER_CONTAINERS";

/** The fingerprints of the slots' containers that the client has passed. */
export function printsIn(env: NodeJS.ProcessEnv): Prints {
  try {
    return printsSchema.parse(JSON.parse(env[printsVariable] ?? "{}"));
  } catch {
    return {};
  }
}

/** Whether a slot's release took over all traffic and kept it. */
export function isServed(served: SlotState["served"], slot: SlotName, release: Release): boolean {
  return isSameRelease(served[slot], release);
}

/** Whether it did so in a container of the same image with the same environment. */
export function isProved(
  { served, proved }: Pick<SlotState, "served" | "proved">,
  slot: SlotName,
  release: Release,
  prints: Prints,
): boolean {
  const [before, now] = [proved[slot], prints[slot]];
  return isServed(served, slot, release) && (before === undefined || now === undefined || before === now);
}
