/** state/slot.json in the router's volume: the slot that nginx starts with. */
import { readFile, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { messageOf, StepError } from "../../contract/errors.ts";
import { isDiskFull, syncDirectory, writeFileAtomically, writeInPlace } from "../files.ts";
import { type SlotState, slotFileSchema } from "../../contract/slot-file.ts";

/** The state, and the exact text, to restore it byte by byte. Undefined: no file, or a damaged one. */
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
    // Not ours, or damaged: counts as missing, and is replaced.
    return undefined;
  }
}

/** The file's text for a state. */
export const slotText = (state: SlotState): string => `${JSON.stringify(state)}\n`;

/** Writes the file atomically; it is on disk on return. */
export async function writeSlotFile(file: string, state: SlotState): Promise<void> {
  await write(file, slotText(state));
}

/** A full disk has no room for a new file, but the old one can be overwritten: traffic must move all the same. */
async function write(file: string, text: string): Promise<void> {
  try {
    await writeFileAtomically(file, text);
  } catch (error) {
    if (!isDiskFull(error)) throw error;
    await writeInPlace(file, text);
  }
}

/** Restores the file: its text, or no file. */
export async function restoreSlotFile(file: string, text: string | undefined): Promise<void> {
  if (text !== undefined) {
    await write(file, text);
    return;
  }
  await rm(file, { force: true });
  await syncDirectory(dirname(file));
}
