/** `pg_dumpall --roles-only` and `pg_dump` through pigz into a file, with the exit code of each checked. */
import { createHash } from "node:crypto";
import { createWriteStream, type WriteStream } from "node:fs";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { execa } from "execa";
import type { StepContext } from "./context.ts";
import { succeed } from "./programs.ts";
import { tolerateExistingRoles } from "./roles.ts";
import { megabytes, transferProgress } from "./units.ts";

const progressMs = 2_000;

/** Measured: half of the default level's time, 7 % more bytes. */
const compressionLevel = "-3";

export interface DumpSource {
  /** libpq's variables. */
  environment: Record<string, string>;
  database: string;
  /** From pg_export_snapshot(): the dump shows what that transaction sees. */
  snapshot: string;
  /** Bytes before compression, as far as they can be guessed. */
  expectedBytes: number;
}

export interface Dump {
  bytes: number;
  sha256: string;
  /** Before compression. */
  plainBytes: number;
  /** The roles' part of it, at its beginning. */
  rolesBytes: number;
}

/** Writes the dump into a new file, which is not yet on disk when this returns. */
export async function dump(file: string, source: DumpSource, context: StepContext): Promise<Dump> {
  const { log, signal } = context;
  const failed = new AbortController();
  const cancelSignal = AbortSignal.any([signal, failed.signal]);
  const environment = { PATH: context.env["PATH"], LANG: "C.UTF-8" };
  const client = { env: { ...environment, ...source.environment }, extendEnv: false, cancelSignal, reject: false, stdin: "ignore" } as const;

  // Roles are not part of pg_dump; their passwords are no part of any snapshot.
  const roles = execa("pg_dumpall", ["--roles-only", "--no-role-passwords", "--no-password", `--database=${source.database}`], client);
  await succeed(roles, "pg_dumpall", signal);
  const rolesText = Buffer.from(tolerateExistingRoles((await roles).stdout));

  const started = performance.now();
  const pigz = execa("pigz", ["--stdout", "--processes", "2", compressionLevel], { env: environment, extendEnv: false, cancelSignal, reject: false, buffer: { stdout: false }, stdin: "pipe" });
  const pgDump = execa("pg_dump", ["--format=plain", "--no-password", "--lock-wait-timeout=60s", `--snapshot=${source.snapshot}`], { ...client, buffer: { stdout: false } });
  const hash = createHash("sha256");
  let [plainBytes, bytes] = [rolesText.length, 0];
  const before = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      plainBytes += chunk.length;
      done(null, chunk);
    },
  });
  const after = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      bytes += chunk.length;
      done(null, chunk);
    },
  });
  const target: WriteStream = createWriteStream(file, { flags: "wx", mode: 0o600 });
  const progress = setInterval(() => {
    log.info(`snapshot: ${transferProgress(plainBytes, source.expectedBytes, performance.now() - started)}; ${megabytes(bytes)} written`);
  }, progressMs);
  try {
    pigz.stdin.write(rolesText);
    const parts = [
      pipeline(pgDump.stdout, before, pigz.stdin, { end: false }).catch(() => undefined).then(async () => {
        // pigz gets its end of input only when pg_dump has succeeded: a cut dump must not look like a whole one.
        await succeed(pgDump, "pg_dump", signal);
        pigz.stdin.end();
      }),
      pipeline(pigz.stdout, after, target),
      succeed(pigz, "pigz", signal),
    ];
    try {
      await Promise.all(parts);
    } catch (error) {
      failed.abort();
      await Promise.allSettled([...parts, pgDump, pigz]);
      throw error;
    }
  } finally {
    clearInterval(progress);
  }
  return { bytes, sha256: hash.digest("hex"), plainBytes, rolesBytes: rolesText.length };
}
