/**
 * Notes of the Pulumi processes that this machine has started. Pulumi's lock names a host and a process, and two machines may have
 * one name (`ubuntu`, a CI runner's): in a backend that others share, a lock is this machine's only where it has a note of that process.
 */
import { mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import * as z from "zod";

const noteSchema = z.object({ pid: z.number(), kernel: z.string(), startedAt: z.number() });

/** A process takes its lock within this time of its start, in ms: then its number alone can't be another machine's by chance. */
const lockWithinMs = 600_000;
/** Locks are dated in whole seconds. */
const precisionMs = 2_000;

/** Where process numbers are counted: this boot of this machine, and in it this namespace. Undefined where nobody can tell. */
function kernel(): string | undefined {
  try {
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()} ${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return undefined;
  }
}

/** The directory of the notes: the user's own, of this machine. */
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
    // There is none, or one that is just going.
    return [];
  }
}

/**
 * Notes a process that has just been started. Where no note can be written, nothing is: its lock is then left to a person, should it be killed.
 * @returns takes the note back, once it has ended by itself: it has given back its lock.
 */
export function noteRun(pid: number, directory = notesDirectory()): () => void {
  const here = kernel();
  if (here === undefined) return () => undefined;
  const file = join(directory, `${pid}.json`);
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    // Those of an earlier boot tell nothing any more.
    for (const { file: old, note } of notesIn(directory)) if (note.kernel !== here) rmSync(old, { force: true });
    writeFileSync(file, JSON.stringify({ pid, kernel: here, startedAt: Date.now() }), { mode: 0o600 });
  } catch {
    return () => undefined;
  }
  return () => {
    rmSync(file, { force: true });
  };
}

/** Whether this machine has started the process that took a lock. @param since when it was taken. */
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
