/** Atomic file writes: after a crash of the program or the machine, a file has its old content or the new. */
import { randomBytes } from "node:crypto";
import { open, readdir, rename, rm, stat, type FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

/** Flushes a directory: only then is a rename or a new file on disk. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Steps run as root in their container. A file that they write is given to the owner of its directory on the host. */
export async function adoptOwner(handle: FileHandle, directory: string): Promise<void> {
  const { uid, gid } = await stat(directory);
  await handle.chown(uid, gid).catch((error: unknown) => {
    // Not root (in tests, or in a rootless engine): the file already belongs to the user who runs this.
    if ((error as NodeJS.ErrnoException).code !== "EPERM") throw error;
  });
}

/** No write takes longer than this, in ms. */
const abandonedMs = 60_000;

/** Removes temporary files that killed runs have left: on a nearly full disk they would take room for good. */
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

/** Whether an error means that the disk accepts no more writes: full, over quota, or read-only. */
export function isDiskFull(error: unknown): boolean {
  return ["ENOSPC", "EDQUOT", "EROFS"].includes((error as NodeJS.ErrnoException).code ?? "");
}

/** Overwrites an existing JSON file in its own blocks. Not atomic: only for a disk without room for another file. */
export async function writeInPlace(file: string, content: string): Promise<void> {
  const handle = await open(file, "r+");
  try {
    const { size } = await handle.stat();
    // JSON ignores trailing white space: it overwrites the rest of a longer old file, at whatever point this is cut
    // short.
    await handle.write(content.padEnd(size), 0);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Appends one line; it is on disk on return. A line that an earlier crash cut short is ended first. */
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
    // One write: lines of two programs never mix.
    await handle.appendFile(`${torn ? "\n" : ""}${line}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  if (created) await syncDirectory(dirname(file));
}
