import * as z from "zod";

export const slotNames = ["blue", "green"] as const;
export const slotNameSchema = z.enum(slotNames);
/** One of the two places a release can run in. */
export type SlotName = z.infer<typeof slotNameSchema>;

export const releaseSchema = z.strictObject({
  /** Name for people: a git tag, or the short commit where there is none. The server reports it. */
  version: z.string().min(1),
  /** Its source: a full git commit, `tree-<hash>` for a source tree without git, or an image digest. */
  commit: z.string().min(1),
});
/** A release in a slot. */
export type Release = z.infer<typeof releaseSchema>;
