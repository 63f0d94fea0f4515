/**
 * Notes of the Pulumi processes that this machine has started. Pulumi's lock names a host and a process, and two
 * machines may have the same name (`ubuntu`, a CI runner's). In a shared backend, a lock belongs to this machine only
 * where it has a note of that process.
 */
import { mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import * as z from "zod";

const noteSchema = z.object({ pid: z.number(), kernel: z.string(), startedAt: z.number() });

/**
 * Longest time from a process's start to its lock, in ms. A later lock of the same process number may be another
 * machine's.
 */
const lockWithinMs = 600_000;
/** Locks have whole seconds. */
const precisionMs = 2_000;

/**
 * The space in which process numbers are unique: this boot of this machine, and the pid namespace. Undefined: unknown.
 */
function kernel(): string | undefined {
  try {
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()} ${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return undefined;
  }
}

/** The directory of the notes, for this user on this machine. */
export function notesDirectory(env: NodeJS.ProcessEnv = process.env): string {
  const state = env["XDG_STATE_HOME"] ?? "";
  return join(state === "" ? join(homedir(), ".local/state") : state, "togather/pulumi");
}

function notesIn(directory: string): { file: string; note: z.infer<typeof noteSchema> }[] {
  try {
    return readdirSync(directory).flatMap((name) => {
      const file = join(directory, name);
      const { data } = noteSchema.safeParse(JSON.parse(readFileSync(file, "utf8")));
      return data === undefined ? [] : [{ file, note: data }];
    });
  } catch {
    // There is no note, or it is being removed.
    return [];
  }
}

/**
 * Writes a note of a process that was just started. Where that is not possible, the process's lock is left to a person,
 * should it be killed.
 * @returns a function that removes the note, for the time when the process has ended by itself and released its lock.
 */
export function noteRun(pid: number, directory = notesDirectory()): () => void {
  const here = kernel();
  if (here === undefined) return () => undefined;
  const file = join(directory, `${pid}.json`);
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    // Notes of an earlier boot are useless.
    for (const { file: old, note } of notesIn(directory)) if (note.kernel !== here) rmSync(old, { force: true });
    writeFileSync(file, JSON.stringify({ pid, kernel: here, startedAt: Date.now() }), { mode: 0o600 });
  } catch {
    return () => undefined;
  }
  return () => {
    rmSync(file, { force: true });
  };
}

/**
 * Whether this machine has started the process that took a lock.
 * @param since the time at which the lock was taken.
 */
export function hasStarted({ pid, since }: { pid: number; since: string }, directory = notesDirectory()): boolean {
  const here = kernel();
  if (here === undefined) return false;
  const taken = Date.parse(since);
  return notesIn(directory).some(
    ({ note }) =>
      note.pid === pid &&
      note.kernel === here &&
      taken >= note.startedAt - precisionMs &&
      taken <= note.startedAt + lockWithinMs,
  );
}
