/** A dump as SQL: `pg_dumpall --roles-only` and `pg_dump` through a compressor into a file, with the exit code of each checked. */
import { createHash } from "node:crypto";
import { createWriteStream, type WriteStream } from "node:fs";
import { availableParallelism } from "node:os";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { execa } from "execa";
import type { StepContext } from "../../contract/context.ts";
import { succeed } from "../../contract/programs.ts";
import { tolerateExistingRoles } from "../database/roles.ts";
import { formatBytes, transferProgress } from "../../contract/units.ts";

const progressMs = 2_000;

/** Programs that compress, with as many threads as the host has. Levels are measured: pigz -3 takes half of the default's time for 7 % more bytes. */
const compressors = {
  "sql.gz": (threads: number): [string, ...string[]] => ["pigz", "--stdout", "--processes", String(threads), "-3"],
  "sql.zst": (threads: number): [string, ...string[]] => ["zstd", "--stdout", "--quiet", `--threads=${threads}`, "-1"],
} as const;

export interface DumpSource {
  /** libpq's variables. */
  environment: Record<string, string>;
  database: string;
  /** From pg_export_snapshot(): the dump shows what that transaction sees. */
  snapshot: string;
  /** Leaves out owners, rights and roles. */
  withoutOwners: boolean;
  /** Bytes before compression (of a directory: on disk), as far as they can be guessed. */
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

/** The roles as SQL that can be restored where they exist. They are not part of pg_dump; their passwords are no part of any snapshot. */
export async function dumpRoles(
  source: Pick<DumpSource, "environment" | "database" | "withoutOwners">,
  context: Pick<StepContext, "env" | "signal">,
): Promise<Buffer> {
  if (source.withoutOwners) return Buffer.alloc(0);
  const roles = execa(
    "pg_dumpall",
    ["--roles-only", "--no-role-passwords", "--no-password", `--database=${source.database}`],
    {
      env: { PATH: context.env["PATH"], LANG: "C.UTF-8", ...source.environment },
      extendEnv: false,
      cancelSignal: context.signal,
      reject: false,
      stdin: "ignore",
    },
  );
  await succeed(roles, "pg_dumpall", context.signal);
  return Buffer.from(tolerateExistingRoles((await roles).stdout));
}

/** Options of pg_dump for a database whose roles mean nothing where it is restored. */
export const ownerOptions = ({ withoutOwners }: Pick<DumpSource, "withoutOwners">): string[] =>
  withoutOwners ? ["--no-owner", "--no-privileges"] : [];

/** Writes the dump into a new file, which is not yet on disk when this returns. */
export async function dump(
  file: string,
  { format, recipients }: { format: keyof typeof compressors; recipients: readonly string[] },
  source: DumpSource,
  context: StepContext,
): Promise<Dump> {
  const { log, signal } = context;
  const failed = new AbortController();
  const cancelSignal = AbortSignal.any([signal, failed.signal]);
  const environment = { PATH: context.env["PATH"], LANG: "C.UTF-8" };
  const client = {
    env: { ...environment, ...source.environment },
    extendEnv: false,
    cancelSignal,
    reject: false,
    stdin: "ignore",
  } as const;

  const rolesText = await dumpRoles(source, context);
  const started = performance.now();
  const [program, ...args] = compressors[format](availableParallelism());
  const compressor = execa(program, args, {
    env: environment,
    extendEnv: false,
    cancelSignal,
    reject: false,
    buffer: { stdout: false },
    stdin: "pipe",
  });
  const pgDump = execa(
    "pg_dump",
    [
      "--format=plain",
      "--no-subscriptions",
      "--no-password",
      "--lock-wait-timeout=60s",
      `--snapshot=${source.snapshot}`,
      ...ownerOptions(source),
    ],
    { ...client, buffer: { stdout: false } },
  );
  const age =
    recipients.length === 0
      ? undefined
      : execa("age", ["--encrypt", ...recipients.map((recipient) => `--recipient=${recipient}`)], {
          env: environment,
          extendEnv: false,
          cancelSignal,
          reject: false,
          buffer: { stdout: false },
          stdin: "pipe",
        });
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
    log.info(
      `snapshot: ${transferProgress(plainBytes, source.expectedBytes, performance.now() - started)}; ${formatBytes(bytes)} written`,
    );
  }, progressMs);
  try {
    compressor.stdin.write(rolesText);
    const parts = [
      pipeline(pgDump.stdout, before, compressor.stdin, { end: false })
        .catch(() => undefined)
        .then(async () => {
          // The compressor gets its end of input only when pg_dump has succeeded: a cut dump must not look like a whole one.
          await succeed(pgDump, "pg_dump", signal);
          compressor.stdin.end();
        }),
      pipeline(age === undefined ? compressor.stdout : age.stdout, after, target),
      succeed(compressor, program, signal),
      ...(age === undefined
        ? []
        : [
            // age as well gets its end of input only when all of it is there.
            pipeline(compressor.stdout, age.stdin, { end: false })
              .catch(() => undefined)
              .then(async () => {
                await succeed(compressor, program, signal);
                age.stdin.end();
              }),
            succeed(age, "age", signal),
          ]),
    ];
    try {
      await Promise.all(parts);
    } catch (error) {
      failed.abort();
      await Promise.allSettled([...parts, pgDump, compressor, age]);
      throw error;
    }
  } finally {
    clearInterval(progress);
  }
  return { bytes, sha256: hash.digest("hex"), plainBytes, rolesBytes: rolesText.length };
}
