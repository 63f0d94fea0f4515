/** Reads a snapshot once: its checksum, and whether it can be unpacked to the end. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { Transform, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { execa } from "execa";
import type { StepContext } from "./context.ts";
import { measureDirectory } from "./measure-directory.ts";
import { failureOf } from "./programs.ts";
import type { Manifest } from "./snapshots.ts";
import { transferProgress } from "./units.ts";
import { unpackers } from "./unpackers.ts";

const progressMs = 2_000;

export interface Measured {
  sha256: string;
  /** Undefined where nobody knows how many there should be. */
  plainBytes: number | undefined;
  /** What the program that unpacks says against it. */
  broken: string | undefined;
}

/** @throws what the signal was aborted with. */
export async function measureSnapshot(path: string, manifest: Manifest, context: StepContext): Promise<Measured> {
  const { log } = context;
  const started = performance.now();
  let bytes = 0;
  const onRead = (count: number): void => { bytes += count; };
  const progress = setInterval(() => { log.info(`snapshot: checking the file, ${transferProgress(bytes, manifest.bytes, performance.now() - started)}`); }, progressMs);
  try {
    return await (manifest.format === "directory" ? measureFiles(path, context, onRead) : measureFile(path, manifest.format, context, onRead));
  } finally {
    clearInterval(progress);
  }
}

async function measureFile(path: string, format: keyof typeof unpackers, { signal, env }: StepContext, onRead: (bytes: number) => void): Promise<Measured> {
  const hash = createHash("sha256");
  let plainBytes = 0;
  const [program, ...args] = unpackers[format];
  const unpacking = execa(program, args, { env: { PATH: env["PATH"] }, extendEnv: false, cancelSignal: signal, reject: false, buffer: { stdout: false }, stdin: "pipe" });
  const hashing = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      onRead(chunk.length);
      done(null, chunk);
    },
  });
  const counting = new Writable({
    write(chunk: Buffer, _encoding, done) {
      plainBytes += chunk.length;
      done();
    },
  });
  // The program stops reading where the file is broken; the checksum is of all of it.
  const feeding = pipeline(createReadStream(path), hashing, async function* (chunks: AsyncIterable<Buffer>) { yield* chunks; }, unpacking.stdin).catch(() => undefined);
  await Promise.all([feeding, pipeline(unpacking.stdout, counting).catch(() => undefined), unpacking]);
  signal.throwIfAborted();
  const broken = (await failureOf(unpacking, "unpacking"))?.message;
  return { sha256: hash.digest("hex"), plainBytes, broken };
}

async function measureFiles(directory: string, { signal, env }: StepContext, onRead: (bytes: number) => void): Promise<Measured> {
  const { sha256 } = await measureDirectory(directory, signal, onRead);
  const options = { env: { PATH: env["PATH"], LANG: "C.UTF-8" }, extendEnv: false, cancelSignal: signal, reject: false, stdin: "ignore" } as const;
  const packed = (await readdir(directory)).filter((name) => name.endsWith(".zst")).map((name) => join(directory, name));
  const contents = execa("pg_restore", ["--list", directory], options);
  const testing = packed.length === 0 ? undefined : execa("zstd", ["--test", "--quiet", ...packed], options);
  const broken = (await failureOf(contents, "reading its contents"))?.message ?? (testing && (await failureOf(testing, "unpacking"))?.message);
  signal.throwIfAborted();
  return { sha256, plainBytes: undefined, broken };
}
