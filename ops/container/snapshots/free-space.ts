import { statfs } from "node:fs/promises";

/** Free bytes for new files in a directory. */
export async function freeBytes(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory);
  return bavail * bsize;
}
