/** state/slot.json of the router's volume: the slot that nginx comes up on. */
import { readFile, rm } from "node:fs/promises";
import { dirname } from "node:path";
import * as z from "zod";
import { releaseSchema, slotNameSchema, type Release, type SlotName } from "./contract.ts";
import { sentBackSchema } from "./sent-back.ts";
import { messageOf, StepError } from "./errors.ts";
import { isDiskFull, syncDirectory, writeFileAtomically, writeInPlace } from "./files.ts";

const slotFileSchema = z.object({
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
export function isServed(served: SlotState["served"], slot: SlotName, { version, commit }: Release): boolean {
  return served[slot]?.version === version && served[slot].commit === commit;
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

/** With the text that it was read from, to put it back letter for letter. Undefined for none, or for one that is damaged. */
export async function readSlotFile(file: string): Promise<{ state: SlotState; text: string } | undefined> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new StepError(`${file} can't be read: ${messageOf(error)}`);
  }
  try {
    return { state: slotFileSchema.parse(JSON.parse(text)), text };
  } catch {
    // Not ours, or damaged: as good as none, and replaced.
    return undefined;
  }
}

/** The file's text for a state. */
export const slotText = (state: SlotState): string => `${JSON.stringify(state)}\n`;

/** Atomic and on disk when it returns. */
export async function writeSlotFile(file: string, state: SlotState): Promise<void> {
  await write(file, slotText(state));
}

/** On a disk that is full a new file can't be had, but the old one's place can be used again: traffic must move all the same. */
async function write(file: string, text: string): Promise<void> {
  try {
    await writeFileAtomically(file, text);
  } catch (error) {
    if (!isDiskFull(error)) throw error;
    await writeInPlace(file, text);
  }
}

/** The file as it was: its text, or none. */
export async function restoreSlotFile(file: string, text: string | undefined): Promise<void> {
  if (text !== undefined) {
    await write(file, text);
    return;
  }
  await rm(file, { force: true });
  await syncDirectory(dirname(file));
}
