/**
 * A dump as SQL: `pg_dumpall --roles-only` and `pg_dump` through a compressor into a file. The exit code of each
 * program is checked.
 */
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

/**
 * Compressors, with as many threads as the host has. Levels were measured: pigz -3 takes half of the default's time for
 * 7 % more bytes.
 */
const compressors = {
  "sql.gz": (threads: number): [string, ...string[]] => ["pigz", "--stdout", "--processes", String(threads), "-3"],
  "sql.zst": (threads: number): [string, ...string[]] => ["zstd", "--stdout", "--quiet", `--threads=${threads}`, "-1"],
} as const;

/** Format and encryption of a dump. */
export interface DumpFormat {
  format: keyof typeof compressors;
  /** Public keys of age. Empty: the dump is not encrypted. */
  recipients: readonly string[];
}

export interface DumpSource {
  /** libpq's variables. */
  environment: Record<string, string>;
  database: string;
  /** From pg_export_snapshot(): the dump sees the same rows as that transaction. */
  snapshot: string;
  /** Leaves out owners, rights and roles. */
  withoutOwners: boolean;
  /** Estimated bytes before compression (of a directory: on disk). */
  expectedBytes: number;
}

export interface Dump {
  bytes: number;
  sha256: string;
  /** Bytes before compression. */
  plainBytes: number;
  /** Bytes of the roles, at the beginning of the dump. */
  rolesBytes: number;
}

/**
 * The roles as SQL that can be restored where they exist already. pg_dump does not contain them. No snapshot contains
 * their passwords.
 */
export async function dumpRoles(
  source: Pick<DumpSource, "environment" | "database" | "withoutOwners">,
  context: Pick<StepContext, "env" | "signal">,
): Promise<Buffer> {
  if (source.withoutOwners) return Buffer.alloc(0);
  const roles = execa(
    "pg_dumpall",
    ["--roles-only", "--no-role-passwords", "--no-password", `--database=${source.database}`],
    {
      ...confined({ PATH: context.env["PATH"], LANG: "C.UTF-8", ...source.environment }, context.signal),
      stdin: "ignore",
    },
  );
  await succeed(roles, "pg_dumpall", context.signal);
  return Buffer.from(tolerateExistingRoles((await roles).stdout));
}

/** Options of pg_dump for a database whose roles do not exist where it will be restored. */
export const ownerOptions = ({ withoutOwners }: Pick<DumpSource, "withoutOwners">): string[] =>
  withoutOwners ? ["--no-owner", "--no-privileges"] : [];

/** Options of execa for every program here: only the given environment, not this process's. */
const confined = (environment: Record<string, string | undefined>, cancelSignal: AbortSignal) =>
  ({ env: environment, extendEnv: false, cancelSignal, reject: false }) as const;

/** Counts the bytes that pass through, and calls `seen` with each chunk. */
function counter(seen: (chunk: Buffer) => void): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      seen(chunk);
      done(null, chunk);
    },
  });
}

/** Starts pg_dump, the compressor and, for recipients, age. */
function startPrograms(
  { format, recipients }: DumpFormat,
  source: DumpSource,
  path: string | undefined,
  cancelSignal: AbortSignal,
) {
  const environment = { PATH: path, LANG: "C.UTF-8" };
  const piped = { ...confined(environment, cancelSignal), buffer: { stdout: false }, stdin: "pipe" } as const;
  const [compressor, ...args] = compressors[format](availableParallelism());
  return {
    compressor: { name: compressor, process: execa(compressor, args, piped) },
    pgDump: execa(
      "pg_dump",
      [
        "--format=plain",
        "--no-subscriptions",
        "--no-password",
        "--lock-wait-timeout=60s",
        `--snapshot=${source.snapshot}`,
        ...ownerOptions(source),
      ],
      {
        ...confined({ ...environment, ...source.environment }, cancelSignal),
        buffer: { stdout: false },
        stdin: "ignore",
      } as const,
    ),
    age:
      recipients.length === 0
        ? undefined
        : execa("age", ["--encrypt", ...recipients.map((recipient) => `--recipient=${recipient}`)], piped),
  };
}

/**
 * Connects the programs. Each gets its end of input only after the one before it has succeeded: a truncated dump must
 * not look complete.
 * @returns a promise for each part.
 */
function connect(
  { compressor: { name, process: compressor }, pgDump, age }: ReturnType<typeof startPrograms>,
  { before, after, target }: { before: Transform; after: Transform; target: WriteStream },
  signal: AbortSignal,
): Promise<unknown>[] {
  const compressed = [
    pipeline(pgDump.stdout, before, compressor.stdin, { end: false })
      .catch(() => undefined)
      .then(async () => {
        await succeed(pgDump, "pg_dump", signal);
        compressor.stdin.end();
      }),
    succeed(compressor, name, signal),
  ];
  if (age === undefined) return [...compressed, pipeline(compressor.stdout, after, target)];
  return [
    ...compressed,
    pipeline(compressor.stdout, age.stdin, { end: false })
      .catch(() => undefined)
      .then(async () => {
        await succeed(compressor, name, signal);
        age.stdin.end();
      }),
    succeed(age, "age", signal),
    pipeline(age.stdout, after, target),
  ];
}

/** Writes the dump into a new file. It is not flushed to disk on return. */
export async function dump(file: string, format: DumpFormat, source: DumpSource, context: StepContext): Promise<Dump> {
  const { log, signal } = context;
  const rolesText = await dumpRoles(source, context);
  const failed = new AbortController();
  const started = performance.now();
  const programs = startPrograms(format, source, context.env["PATH"], AbortSignal.any([signal, failed.signal]));
  const hash = createHash("sha256");
  let [plainBytes, bytes] = [rolesText.length, 0];
  const before = counter((chunk) => {
    plainBytes += chunk.length;
  });
  const after = counter((chunk) => {
    hash.update(chunk);
    bytes += chunk.length;
  });
  const target = createWriteStream(file, { flags: "wx", mode: 0o600 });
  const progress = setInterval(() => {
    log.info(
      `snapshot: ${transferProgress(plainBytes, source.expectedBytes, performance.now() - started)}; ${formatBytes(bytes)} written`,
    );
  }, progressMs);
  const { compressor, pgDump, age } = programs;
  try {
    compressor.process.stdin.write(rolesText);
    const parts = connect(programs, { before, after, target }, signal);
    try {
      await Promise.all(parts);
    } catch (error) {
      failed.abort();
      await Promise.allSettled([...parts, pgDump, compressor.process, age]);
      throw error;
    }
  } finally {
    clearInterval(progress);
  }
  return { bytes, sha256: hash.digest("hex"), plainBytes, rolesBytes: rolesText.length };
}
