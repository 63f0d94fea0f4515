/** state/slot.json of the router's volume: the slot that nginx comes up on. */
import { readFile, rm } from "node:fs/promises";
import { dirname } from "node:path";
import * as z from "zod";
import { releaseSchema, slotNameSchema, type Release, type SlotName } from "./contract.ts";
import { messageOf, StepError } from "./errors.ts";
import { syncDirectory, writeFileAtomically } from "./files.ts";

const slotFileSchema = z.object({
  slot: slotNameSchema,
  changedAt: z.string(),
  /** The version in each slot, for the access log. */
  versions: z.partialRecord(slotNameSchema, z.string()).default({}),
  /** The release of each slot that took over all traffic and kept it: going back to it is a rollback, and needs no trial. */
  served: z.partialRecord(slotNameSchema, releaseSchema).default({}),
});
export type SlotState = z.infer<typeof slotFileSchema>;

/** Whether a slot's release is one that took over all traffic and kept it. */
export function isServed(served: SlotState["served"], slot: SlotName, { version, commit }: Release): boolean {
  return served[slot]?.version === version && served[slot].commit === commit;
}

/** With the text that it was read from, to put it back letter for letter. Undefined for none, or for one that is damaged. */
export async function readSlotFile(file: string): Promise<(SlotState & { text: string }) | undefined> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new StepError(`${file} can't be read: ${messageOf(error)}`);
  }
  try {
    return { ...slotFileSchema.parse(JSON.parse(text)), text };
  } catch {
    // Not ours, or damaged: as good as none, and replaced.
    return undefined;
  }
}

/** Atomic and on disk when it returns. */
export async function writeSlotFile(file: string, state: SlotState): Promise<void> {
  await writeFileAtomically(file, `${JSON.stringify(state)}\n`);
}

/** The file as it was: its text, or none. */
export async function restoreSlotFile(file: string, text: string | undefined): Promise<void> {
  if (text !== undefined) {
    await writeFileAtomically(file, text);
    return;
  }
  await rm(file, { force: true });
  await syncDirectory(dirname(file));
}
