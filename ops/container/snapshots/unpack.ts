/** Unpacks a snapshot that is one file: decrypts it, if it is encrypted, and decompresses it. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { execa } from "execa";
import type { StepContext } from "../../contract/context.ts";
import { StepError } from "../../contract/errors.ts";
import { failureOf } from "../../contract/programs.ts";
import type { Manifest } from "../../contract/manifest.ts";

const unpackers = {
  "sql.gz": ["pigz", "--decompress", "--stdout"],
  "sql.zst": ["zstd", "--decompress", "--stdout", "--quiet"],
} as const;

/** Programs that unpack the data written into `input`. */
export interface Unpacking {
  input: Writable;
  output: Readable;
  /**
   * Waits until they have ended.
   * @returns the error of the first that failed.
   */
  failure: () => Promise<StepError | undefined>;
}

/** Whether a snapshot can be read here: it is not encrypted, or there is an identity. */
export function canRead({ recipients }: Pick<Manifest, "recipients">, { env }: Pick<StepContext, "env">): boolean {
  return recipients.length === 0 || (env["SNAPSHOT_IDENTITY"] ?? "") !== "";
}

/** Hint for an encrypted snapshot without an identity. */
export const identityHint =
  "set SNAPSHOT_IDENTITY (togather:snapshotIdentity), the secret key (AGE-SECRET-KEY-1…) of one of database.snapshot_recipients";

/**
 * Unpacks for as long as it is used. age gets the identity in a file in the step's own memory, which nobody else can
 * read.
 * @throws {StepError} when the snapshot is encrypted and there is no identity.
 */
export async function withUnpacking<T>(
  manifest: Manifest,
  { env, signal }: Pick<StepContext, "env" | "signal">,
  use: (unpacking: Unpacking) => Promise<T>,
): Promise<T> {
  if (manifest.format === "directory") throw new Error("a directory is not unpacked");
  if (!canRead(manifest, { env }))
    throw new StepError(`the snapshot ${manifest.file} is encrypted, and there is no identity that reads it`, {
      hint: identityHint,
    });
  const [program, ...args] = unpackers[manifest.format];
  const options = {
    env: { PATH: env["PATH"] },
    extendEnv: false,
    cancelSignal: signal,
    reject: false,
    buffer: { stdout: false },
    stdin: "pipe",
  } as const;
  const scratch = manifest.recipients.length === 0 ? undefined : await mkdtemp(join(tmpdir(), "identity-"));
  try {
    const unpacker = execa(program, args, options);
    if (scratch === undefined)
      return await use({
        input: unpacker.stdin,
        output: unpacker.stdout,
        failure: () => failureOf(unpacker, "unpacking"),
      });
    const identity = join(scratch, "key");
    await writeFile(identity, `${env["SNAPSHOT_IDENTITY"] ?? ""}\n`, { mode: 0o600 });
    const age = execa("age", ["--decrypt", `--identity=${identity}`], options);
    const joined = pipeline(age.stdout, unpacker.stdin).catch(() => undefined);
    return await use({
      input: age.stdin,
      output: unpacker.stdout,
      async failure() {
        const [decrypting, unpacking] = await Promise.all([
          failureOf(age, "decrypting"),
          failureOf(unpacker, "unpacking"),
          joined,
        ]);
        return decrypting ?? unpacking;
      },
    });
  } finally {
    if (scratch !== undefined) await rm(scratch, { recursive: true, force: true });
  }
}
