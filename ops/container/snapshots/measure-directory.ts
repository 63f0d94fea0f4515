/** The size and checksum of a directory of files. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

export interface MeasuredDirectory {
  bytes: number;
  /** The output of `sha256sum * | sha256sum` in the directory. */
  sha256: string;
}

/** Bytes of all files, by their metadata. */
export async function directoryBytes(directory: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(directory)) bytes += (await stat(join(directory, name))).size;
  return bytes;
}

/**
 * Reads all files once.
 * @param onRead called with the number of bytes as they are read.
 */
export async function measureDirectory(
  directory: string,
  signal: AbortSignal,
  onRead: (bytes: number) => void = () => undefined,
): Promise<MeasuredDirectory> {
  const all = createHash("sha256");
  let bytes = 0;
  // In the order of the C locale, as the shell sorts them.
  for (const name of (await readdir(directory)).sort((a, b) => (a < b ? -1 : 1))) {
    const one = createHash("sha256");
    await pipeline(
      createReadStream(join(directory, name)),
      async (chunks: AsyncIterable<Buffer>) => {
        for await (const chunk of chunks) {
          one.update(chunk);
          bytes += chunk.length;
          onRead(chunk.length);
        }
      },
      { signal },
    );
    all.update(`${one.digest("hex")}  ${name}\n`);
  }
  return { bytes, sha256: all.digest("hex") };
}
