/** What state/slot.json of the router's volume holds: the slot that nginx comes up on, and what has served. */
import * as z from "zod";
import { isSameRelease } from "./release.ts";
import { sentBackSchema } from "./sent-back.ts";
import { releaseSchema, slotNameSchema, type Release, type SlotName } from "./slots.ts";

export const slotFileSchema = z.object({
  slot: slotNameSchema,
  changedAt: z.string(),
  /** The version in each slot, for the access log. */
  versions: z.partialRecord(slotNameSchema, z.string()).default({}),
  /** The release of each slot that took over all traffic and kept it: going back to it is a rollback, and needs no trial. */
  served: z.partialRecord(slotNameSchema, releaseSchema).default({}),
  /** What the container of each of those was made of (`containerPrint`): the same release with other settings has proved nothing. Not there in files of older versions. */
  proved: z.partialRecord(slotNameSchema, z.string()).default({}),
  /** Releases from which traffic was sent back. */
  sentBack: z.array(sentBackSchema).default([]),
});
export type SlotState = z.infer<typeof slotFileSchema>;
export const printsSchema = z.partialRecord(slotNameSchema, z.string());
/** What containers are made of, by slot; empty where nobody could ask. */
export type Prints = z.infer<typeof printsSchema>;
/** By which a switch's client hands them over. */
export const printsVariable = "TOGATHER_CONTAINERS";

/** What the client has found the slots' containers to be made of. */
export function printsIn(env: NodeJS.ProcessEnv): Prints {
  try {
    return printsSchema.parse(JSON.parse(env[printsVariable] ?? "{}"));
  } catch {
    return {};
  }
}

/** Whether a slot's release is one that took over all traffic and kept it. */
export function isServed(served: SlotState["served"], slot: SlotName, release: Release): boolean {
  return isSameRelease(served[slot], release);
}

/** Whether that was a container of the same image with the same environment, too. */
export function isProved(
  { served, proved }: Pick<SlotState, "served" | "proved">,
  slot: SlotName,
  release: Release,
  prints: Prints,
): boolean {
  const [before, now] = [proved[slot], prints[slot]];
  return isServed(served, slot, release) && (before === undefined || now === undefined || before === now);
}
