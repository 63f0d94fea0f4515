/** Writing files so that a crash, of the program or of the machine, leaves the old content or the new. */
import { randomBytes } from "node:crypto";
import { open, readdir, rename, rm, stat, type FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** Flushes a directory: a rename or a new file is on disk only then. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Steps run as root in their container; what they write belongs to whoever owns the directory on the host. */
export async function adoptOwner(handle: FileHandle, directory: string): Promise<void> {
  const { uid, gid } = await stat(directory);
  await handle.chown(uid, gid).catch((error: unknown) => {
    // Not root (in tests, or in a rootless engine): the file belongs to who runs this already.
    if ((error as NodeJS.ErrnoException).code !== "EPERM") throw error;
  });
}

/** Nobody takes so long for a write, in ms. */
const abandonedMs = 60_000;

/** Removes what those who were killed have left of a file: on a disk that is filling up it takes room for good. */
async function removeAbandoned(file: string): Promise<void> {
  const directory = dirname(file);
  const names = (await readdir(directory)).filter(
    (name) => name.startsWith(`.${basename(file)}.`) && name.endsWith(".tmp"),
  );
  for (const path of names.map((name) => join(directory, name))) {
    const { mtimeMs } = await stat(path);
    if (Date.now() - mtimeMs > abandonedMs) await rm(path, { force: true });
  }
}

/** Replaces a file as a whole. */
export async function writeFileAtomically(file: string, content: string | Buffer, mode = 0o644): Promise<void> {
  const directory = dirname(file);
  await removeAbandoned(file).catch(() => undefined);
  const temporary = join(directory, `.${basename(file)}.${randomBytes(6).toString("hex")}.tmp`);
  try {
    const handle = await open(temporary, "wx", mode);
    try {
      await adoptOwner(handle, directory);
      // The mode of `open` is subject to the umask.
      await handle.chmod(mode);
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDirectory(directory);
}

/** Whether an error is that of a disk that takes nothing more: full, over quota, or mounted read-only. */
export function isDiskFull(error: unknown): boolean {
  return ["ENOSPC", "EDQUOT", "EROFS"].includes((error as NodeJS.ErrnoException).code ?? "");
}

/** Overwrites a JSON file that is there, in its own blocks. Not atomic: only where there is no room for another file. */
export async function writeInPlace(file: string, content: string): Promise<void> {
  const handle = await open(file, "r+");
  try {
    const { size } = await handle.stat();
    // White space behind JSON is none of it: nothing of a longer file before is left, whenever this is cut short.
    await handle.write(content.padEnd(size), 0);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Appends one line, on disk when this returns. A line that a crash cut short before is closed first. */
export async function appendLine(file: string, line: string, mode = 0o644): Promise<void> {
  const handle = await open(file, "a+", mode);
  let created: boolean;
  try {
    const { size } = await handle.stat();
    created = size === 0;
    if (created) await adoptOwner(handle, dirname(file));
    const last = Buffer.alloc(1);
    if (!created) await handle.read(last, 0, 1, size - 1);
    const torn = !created && last.toString() !== "\n";
    // One write, so that lines of two programs never mix.
    await handle.appendFile(`${torn ? "\n" : ""}${line}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  if (created) await syncDirectory(dirname(file));
}
