/** Flushes a snapshot to disk. */
import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import { adoptOwner } from "../files.ts";
import type { SnapshotFormat } from "../../contract/snapshot-format.ts";

async function flushOne(path: string, directory: string): Promise<number> {
  const handle = await open(path, "r");
  try {
    await adoptOwner(handle, directory);
    await handle.sync();
    return (await handle.stat()).size;
  } finally {
    await handle.close();
  }
}

/**
 * Gives a snapshot to the owner of its directory and waits until it is on disk.
 * @returns its size in bytes.
 */
export async function flushSnapshot(path: string, format: SnapshotFormat, directory: string): Promise<number> {
  if (format !== "directory") return flushOne(path, directory);
  let bytes = 0;
  for (const name of await readdir(path)) bytes += await flushOne(join(path, name), directory);
  await flushOne(path, directory);
  return bytes;
}
