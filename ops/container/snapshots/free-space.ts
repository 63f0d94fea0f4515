import { statfs } from "node:fs/promises";

/** Bytes that are free for new files in a directory. */
export async function freeBytes(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory);
  return bavail * bsize;
}
