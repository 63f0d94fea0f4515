/** state/slot.json of the router's volume: the slot that nginx comes up on. */
import { readFile, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { messageOf, StepError } from "../../contract/errors.ts";
import { isDiskFull, syncDirectory, writeFileAtomically, writeInPlace } from "../files.ts";
import { type SlotState, slotFileSchema } from "../../contract/slot-file.ts";

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
