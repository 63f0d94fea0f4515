import { createHash } from "node:crypto";
import { createWriteStream, type WriteStream } from "node:fs";
import { open, readdir, rename, rm, stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import { join as joinOnHost } from "node:path/posix";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { execa, type ResultPromise } from "execa";
import type pg from "pg";
import { connectionEnvironment } from "../connection.ts";
import type { StepContext } from "../context.ts";
import type { StepRequest, StepResult } from "../contract.ts";
import { timestampOf } from "../deployment-id.ts";
import { messageOf, StepError } from "../errors.ts";
import { adoptOwner, syncDirectory, writeFileAtomically } from "../files.ts";
import { withFileLock } from "../lock.ts";
import { tolerateExistingRoles } from "../roles.ts";
import { expireSnapshots, manifestName, snapshotName, type Manifest } from "../snapshots.ts";
import { readSchemaVersion, withDatabase } from "../sql.ts";

const progressMs = 2_000;
const smallestFreeSpace = 64 * 1024 * 1024;
/** What a compressed dump takes of a database's size on disk; indexes are not in it. Measured: 0.16. */
const compressedShare = 0.25;

/** Measured: half of the default level's time, 7 % more bytes. */
const compressionLevel = "-3";

const megabytes = (bytes: number): string => `${(bytes / 1024 / 1024).toFixed(1)} MB`;

interface Facts {
  databaseVersion: string;
  databaseBytes: number;
  rowEstimate: number;
  migration: { version: number | null; dirty: boolean };
}

async function gatherFacts(client: pg.Client): Promise<Facts> {
  const { rows } = await client.query<{ version: string; bytes: string; rows: string }>(`
    SELECT current_setting('server_version') AS version,
           pg_database_size(current_database()) AS bytes,
           (SELECT coalesce(sum(greatest(reltuples, 0)), 0)::bigint FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
             WHERE relkind = 'r' AND nspname NOT IN ('pg_catalog', 'information_schema')) AS rows`);
  const row = rows[0];
  if (row === undefined) throw new StepError("the database told nothing about itself");
  return { databaseVersion: row.version, databaseBytes: Number(row.bytes), rowEstimate: Number(row.rows), migration: await readSchemaVersion(client) };
}

async function checkFreeSpace(directory: string, hostDirectory: string, facts: Facts): Promise<void> {
  const { bavail, bsize } = await statfs(directory);
  const free = bavail * bsize;
  const needed = Math.max(1.2 * compressedShare * facts.databaseBytes, smallestFreeSpace);
  if (free < needed) {
    throw new StepError(`${hostDirectory} has ${megabytes(free)} left, expected at least ${megabytes(needed)} for a snapshot of a database of ${megabytes(facts.databaseBytes)}`, {
      hint: `free space on the Docker host, set togather:deployment database.backup_location elsewhere, or keep fewer snapshots: df -h ${hostDirectory}; ls -lhS ${hostDirectory}`,
    });
  }
}

/** Fails with what the program itself said. */
async function succeed(program: ResultPromise, what: string, signal: AbortSignal): Promise<void> {
  const result = await program;
  if (!result.failed) return;
  signal.throwIfAborted();
  const end = result.signal === undefined ? (result.exitCode === undefined ? messageOf(result) : `exit code ${result.exitCode}`) : `killed by ${result.signal}`;
  const said = typeof result.stderr === "string" ? result.stderr.trim().split("\n").slice(-5).join("\n") : "";
  throw new StepError(`${what} failed (${end})${said === "" ? "" : `: ${said}`}`);
}

interface Dump {
  bytes: number;
  sha256: string;
}

/** `pg_dumpall --roles-only` and `pg_dump` through pigz into a file, with the exit code of each checked. */
async function dump(file: string, hostDatabase: { environment: Record<string, string>; name: string }, context: StepContext): Promise<Dump> {
  const { log, signal } = context;
  const failed = new AbortController();
  const cancelSignal = AbortSignal.any([signal, failed.signal]);
  const environment = { PATH: context.env["PATH"], LANG: "C.UTF-8" };
  const client = { env: { ...environment, ...hostDatabase.environment }, extendEnv: false, cancelSignal, reject: false, stdin: "ignore" } as const;

  // Roles are not part of pg_dump; their passwords are no part of any snapshot.
  const roles = execa("pg_dumpall", ["--roles-only", "--no-role-passwords", "--no-password", `--database=${hostDatabase.name}`], client);
  await succeed(roles, "pg_dumpall", signal);
  const rolesText = tolerateExistingRoles((await roles).stdout);

  const pigz = execa("pigz", ["--stdout", "--processes", "2", compressionLevel], { env: environment, extendEnv: false, cancelSignal, reject: false, buffer: { stdout: false }, stdin: "pipe" });
  const pgDump = execa("pg_dump", ["--format=plain", "--no-password", "--lock-wait-timeout=60s"], { ...client, buffer: { stdout: false } });
  const hash = createHash("sha256");
  let bytes = 0;
  const count = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      bytes += chunk.length;
      done(null, chunk);
    },
  });
  const target: WriteStream = createWriteStream(file, { flags: "wx", mode: 0o600 });
  const progress = setInterval(() => { log.info(`snapshot: ${megabytes(bytes)} so far`); }, progressMs);
  try {
    pigz.stdin.write(rolesText);
    const parts = [
      pipeline(pgDump.stdout, pigz.stdin, { end: false }).catch(() => undefined).then(async () => {
        // pigz gets its end of input only when pg_dump has succeeded: a cut dump must not look like a whole one.
        await succeed(pgDump, "pg_dump", signal);
        pigz.stdin.end();
      }),
      pipeline(pigz.stdout, count, target),
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
  return { bytes, sha256: hash.digest("hex") };
}

async function flush(file: string, directory: string): Promise<void> {
  const handle = await open(file, "r");
  try {
    await adoptOwner(handle, directory);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** A name of this second, or of the next one that is free. */
async function freeName(directory: string, name: string, signal: AbortSignal): Promise<{ file: string; time: Date }> {
  for (;;) {
    const time = new Date();
    const file = snapshotName(name, timestampOf(time));
    const taken = await stat(join(directory, file)).then(() => true, () => false);
    if (!taken) return { file, time };
    await sleep(200, undefined, { signal });
  }
}

/** Takes a snapshot of the database, and lets old ones go. */
export async function run(request: StepRequest<"snapshot">, context: StepContext): Promise<StepResult<"snapshot">> {
  const { name, backupLocation, retention, release } = request;
  const { log, signal, env, paths } = context;
  const directory = paths.backups;
  return withFileLock(
    {
      file: join(paths.state, ".snapshot.lock"),
      waitSeconds: 3600,
      signal,
      onWait: () => { log.info("snapshot: another one of this deployment is being taken, waiting for it"); },
    },
    async () => {
      const started = performance.now();
      // What a killed run left behind; nobody else writes here, since the lock is held.
      for (const left of await readdir(directory)) {
        if (left.startsWith(snapshotName(name, "").replace(/\.sql\.gz$/, "")) && left.endsWith(".partial")) await rm(join(directory, left), { force: true });
      }
      const { connection, facts } = await withDatabase({ url: env["DATABASE_URL"], applicationName: "togather-snapshot", signal }, async (client, connection) => ({
        connection,
        facts: await gatherFacts(client),
      }));
      await checkFreeSpace(directory, backupLocation, facts);
      const tool = await execa("pg_dump", ["--version"], { env: { PATH: env["PATH"] }, extendEnv: false, cancelSignal: signal });

      const { file, time } = await freeName(directory, name, signal);
      const partial = join(directory, `${file}.partial`);
      log.info(`snapshot: ${megabytes(facts.databaseBytes)} database, schema version ${facts.migration.version ?? "none"}, before ${release.version}`);
      let made: Dump;
      try {
        made = await dump(partial, { environment: connectionEnvironment(connection, "togather-snapshot"), name: connection.database }, context);
        await flush(partial, directory);
        signal.throwIfAborted();
        await rename(partial, join(directory, file));
      } catch (error) {
        await rm(partial, { force: true });
        throw error;
      }
      await syncDirectory(directory);

      const durationMs = Math.round(performance.now() - started);
      const manifest: Manifest = {
        file,
        time: time.toISOString(),
        deployment: name,
        environment: request.environment,
        before_version: release.version,
        before_commit: release.commit,
        database: connection.database,
        database_version: facts.databaseVersion,
        database_bytes: facts.databaseBytes,
        tool_version: tool.stdout.trim(),
        migration_version: facts.migration.version,
        migration_dirty: facts.migration.dirty,
        row_estimate: facts.rowEstimate,
        bytes: made.bytes,
        sha256: made.sha256,
        duration_ms: durationMs,
      };
      await writeFileAtomically(join(directory, manifestName(file)), `${JSON.stringify(manifest, null, 2)}\n`);
      log.info(`snapshot: ${joinOnHost(backupLocation, file)}, ${megabytes(made.bytes)} in ${(durationMs / 1000).toFixed(1)} s`, { sha256: made.sha256, bytes: made.bytes });

      for (const expired of await expireSnapshots(directory, { name, keep: retention, never: file })) log.info(`snapshot: ${expired} is older than the newest ${retention}, removed`);
      return { file: joinOnHost(backupLocation, file), bytes: made.bytes, sha256: made.sha256, migrationVersion: facts.migration.version, durationMs };
    },
  );
}
