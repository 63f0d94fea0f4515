/** Reads a snapshot once: computes its checksum and checks that it can be unpacked to the end. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { execa } from "execa";
import type { StepContext } from "../../contract/context.ts";
import { measureDirectory } from "./measure-directory.ts";
import { failureOf } from "../../contract/programs.ts";
import type { Manifest } from "../../contract/manifest.ts";
import { transferProgress } from "../../contract/units.ts";
import { madeByMajor, withClientFor } from "../database/postgres-client.ts";
import { canRead, withUnpacking } from "./unpack.ts";

const progressMs = 2_000;

export interface Measured {
  sha256: string;
  /** Undefined: the expected size is unknown, or the snapshot can't be decrypted. */
  plainBytes: number | undefined;
  /** The error of the program that unpacks. Undefined: none. */
  broken: string | undefined;
}

/** @throws the reason with which the signal was aborted. */
export async function measureSnapshot(path: string, manifest: Manifest, context: StepContext): Promise<Measured> {
  const { log } = context;
  const started = performance.now();
  let bytes = 0;
  const onRead = (count: number): void => {
    bytes += count;
  };
  const progress = setInterval(() => {
    log.info(`snapshot: checking the file, ${transferProgress(bytes, manifest.bytes, performance.now() - started)}`);
  }, progressMs);
  try {
    return await (manifest.format === "directory"
      ? measureFiles(path, withClientFor(context, madeByMajor(manifest)), onRead)
      : measureFile(path, manifest, context, onRead));
  } finally {
    clearInterval(progress);
  }
}

async function measureFile(
  path: string,
  manifest: Manifest,
  context: StepContext,
  onRead: (bytes: number) => void,
): Promise<Measured> {
  const hash = createHash("sha256");
  const read = (chunk: Buffer): void => {
    hash.update(chunk);
    onRead(chunk.length);
  };
  if (!canRead(manifest, context)) {
    await pipeline(
      createReadStream(path),
      new Writable({
        write(chunk: Buffer, _encoding, done) {
          read(chunk);
          done();
        },
      }),
      { signal: context.signal },
    );
    return { sha256: hash.digest("hex"), plainBytes: undefined, broken: undefined };
  }
  let plainBytes = 0;
  const counting = new Writable({
    write(chunk: Buffer, _encoding, done) {
      plainBytes += chunk.length;
      done();
    },
  });
  const broken = await withUnpacking(manifest, context, async ({ input, output, failure }) => {
    await Promise.all([feed(path, input, read, context.signal), pipeline(output, counting).catch(() => undefined)]);
    return (await failure())?.message;
  });
  context.signal.throwIfAborted();
  return { sha256: hash.digest("hex"), plainBytes, broken };
}

/**
 * Writes a file into a program. The program may stop reading where the file is broken, or at once: its own error is
 * reported, not that of the pipe.
 */
async function feed(
  path: string,
  input: Writable,
  onChunk: (chunk: Buffer) => void,
  signal: AbortSignal,
): Promise<void> {
  const program = { reads: true };
  const closed = new Promise<void>((resolve) => {
    const end = (): void => {
      program.reads = false;
      resolve();
    };
    input.once("error", end).once("close", end);
  });
  for await (const chunk of createReadStream(path, { signal }) as AsyncIterable<Buffer>) {
    onChunk(chunk);
    if (program.reads && !input.write(chunk))
      await Promise.race([
        new Promise((resolve) => {
          input.once("drain", resolve);
        }),
        closed,
      ]);
  }
  input.end();
}

async function measureFiles(
  directory: string,
  { signal, env }: StepContext,
  onRead: (bytes: number) => void,
): Promise<Measured> {
  const { sha256 } = await measureDirectory(directory, signal, onRead);
  const options = {
    env: { PATH: env["PATH"], LANG: "C.UTF-8" },
    extendEnv: false,
    cancelSignal: signal,
    reject: false,
    stdin: "ignore",
  } as const;
  const packed = (await readdir(directory))
    .filter((name) => name.endsWith(".zst"))
    .map((name) => join(directory, name));
  const contents = execa("pg_restore", ["--list", directory], options);
  const testing = packed.length === 0 ? undefined : execa("zstd", ["--test", "--quiet", ...packed], options);
  const broken =
    (await failureOf(contents, "reading its contents"))?.message ??
    (testing && (await failureOf(testing, "unpacking"))?.message);
  signal.throwIfAborted();
  return { sha256, plainBytes: undefined, broken };
}
