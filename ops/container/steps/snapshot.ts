import { isContainerHost } from "../../contract/names.ts";
import { rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { join as joinOnHost } from "node:path/posix";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import pg from "pg";
import { connectionEnvironment, type Connection } from "../../contract/connection.ts";
import type { StepContext } from "../../contract/context.ts";
import type { StepRequest, StepResult } from "../../contract/steps.ts";
import { readDatabaseAttributes, withoutOwnSettings } from "../database/database-attributes.ts";
import { readContents, rowsOf, type Contents } from "../database/database-contents.ts";
import { timestampOf } from "../../contract/deployment-id.ts";
import { dumpDirectory } from "../snapshots/dump-directory.ts";
import { dump, type Dump, type DumpSource } from "../snapshots/dump.ts";
import { messageOf, StepError } from "../../contract/errors.ts";
import { flushSnapshot } from "../snapshots/flush-snapshot.ts";
import { freeBytes } from "../snapshots/free-space.ts";
import { queuedJobs } from "../database/job-queue.ts";
import { currentSnapshot, rowVisibility, type RowVisibility } from "../database/row-visibility.ts";
import { transactionsSince } from "../database/same-database.ts";
import { manifestName, snapshotName } from "../../contract/snapshot-format.ts";
import { serverError } from "../../contract/programs.ts";
import { withClientFor } from "../database/postgres-client.ts";
import {
  expireSnapshots,
  listSnapshots,
  publishSnapshot,
  readManifest,
  removeLeftovers,
  withSnapshotLock,
} from "../snapshots/snapshots.ts";
import { type Manifest } from "../../contract/manifest.ts";
import { withDatabase } from "../database/sql.ts";
import { formatBytes, seconds } from "../../contract/units.ts";

type Request = StepRequest<"snapshot">;

const smallestFreeSpace = 64 * 1024 * 1024;
/**
 * Estimated size of a compressed dump, as a share of the database's size on disk (a dump has no indexes). Measured:
 * 0.16.
 */
const compressedShare = 0.25;

/** Facts about the database before the dump begins. */
interface Facts {
  databaseOid: number;
  databaseVersion: string;
  databaseMajor: number;
  databaseBytes: number;
  /** Bytes without indexes, as of the last ANALYZE: pg_table_size() would wait for locks. */
  tableBytes: number;
  /** Names, comma-separated. Null: none. */
  subscriptions: string | null;
  /** Tables and sequences of extensions, as SQL writes their names. */
  extensionRelations: string[];
  /** Owners by extension, where the owner is no superuser. */
  extensionOwners: Record<string, string>;
  /** Foreign servers whose options this role may not see, comma-separated. Null: none. */
  hiddenMappings: string | null;
}

async function gatherFacts(client: pg.Client): Promise<Facts> {
  const { rows } = await client.query<{
    oid: number;
    version: string;
    major: number;
    bytes: string;
    tables: string;
    subscriptions: string | null;
    relations: string[];
    owners: Record<string, string>;
    hidden: string | null;
  }>(`
    SELECT (SELECT oid FROM pg_database WHERE datname = current_database()) AS oid,
           current_setting('server_version') AS version, current_setting('server_version_num')::int / 10000 AS major,
           pg_database_size(current_database()) AS bytes,
           (SELECT string_agg(subname, ', ' ORDER BY subname) FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())) AS subscriptions,
           (SELECT coalesce(sum(greatest(relpages, 0)::bigint), 0) * current_setting('block_size')::int FROM pg_class WHERE relkind IN ('r', 't') AND oid >= 16384) AS tables,
           (SELECT coalesce(json_agg(format('%I.%I', n.nspname, c.relname) ORDER BY n.nspname, c.relname), '[]')
              FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
             WHERE c.relkind IN ('r', 'p', 'S')) AS relations,
           (SELECT coalesce(json_object_agg(extname, rolname), '{}') FROM pg_catalog.pg_extension JOIN pg_catalog.pg_roles r ON r.oid = extowner WHERE NOT rolsuper) AS owners,
           (SELECT string_agg(format('%s on %s', usename, srvname), ', ' ORDER BY usename, srvname) FROM pg_catalog.pg_user_mappings
             WHERE umoptions IS NULL AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)) AS hidden`);
  const row = rows[0];
  if (row === undefined) throw new StepError("the database told nothing about itself");
  const { oid: databaseOid, version: databaseVersion, subscriptions, relations: extensionRelations } = row;
  const { owners: extensionOwners, hidden: hiddenMappings } = row;
  return {
    databaseOid,
    databaseVersion,
    databaseMajor: row.major,
    databaseBytes: Number(row.bytes),
    tableBytes: Number(row.tables),
    subscriptions,
    extensionRelations,
    extensionOwners,
    hiddenMappings,
  };
}

async function checkFreeSpace(directory: string, hostDirectory: string, facts: Facts): Promise<void> {
  const free = await freeBytes(directory);
  const needed = Math.max(1.2 * compressedShare * facts.databaseBytes, smallestFreeSpace);
  if (free < needed) {
    throw new StepError(
      `${hostDirectory} has ${formatBytes(free)} left, expected at least ${formatBytes(needed)} for a snapshot of a database of ${formatBytes(facts.databaseBytes)}`,
      {
        hint: `free space on the Docker host, set togather:deployment database.backup_location elsewhere, or keep fewer snapshots: df -h ${hostDirectory}; ls -lhS ${hostDirectory}`,
      },
    );
  }
}

/**
 * Expected size, for the progress of a dump: bytes before compression, or, in the format `directory`, bytes on disk.
 * Scaled from the last snapshot; an estimate where there is none.
 */
async function expectedBytes(directory: string, { name, format }: Request, facts: Facts): Promise<number> {
  const measure = ({ bytes, plain_bytes: plainBytes }: Manifest): number =>
    format === "directory" ? bytes : plainBytes;
  const alike = (other: Manifest): boolean => (other.format === "directory") === (format === "directory");
  const last = (await listSnapshots(directory, name)).find(
    ({ manifest }) => manifest !== undefined && alike(manifest),
  )?.manifest;
  if (last !== undefined && last.database_bytes > 0) return (measure(last) / last.database_bytes) * facts.databaseBytes;
  return format === "directory" ? compressedShare * facts.databaseBytes : facts.tableBytes;
}

/**
 * Opens a transaction whose view of the database the dump and the counts share. It must stay open until pg_dump has
 * begun, whatever limits the role has for idle transactions.
 */
async function exportSnapshot(client: pg.Client): Promise<{ exported: string; snapshot: string }> {
  await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  // row_security = off: an error instead of partial rows, as in pg_dump.
  for (const setting of [
    "idle_in_transaction_session_timeout = 0",
    "statement_timeout = 0",
    "lock_timeout = '60s'",
    "row_security = off",
  ])
    await client.query(`SET LOCAL ${setting}`);
  // Looked up first: PostgreSQL before 17 has no such setting.
  await client.query(
    "SELECT pg_catalog.set_config(name, '0', true) FROM pg_catalog.pg_settings WHERE name = 'transaction_timeout'",
  );
  const { rows } = await client.query<{ exported: string }>("SELECT pg_export_snapshot() AS exported");
  const row = rows[0];
  if (row === undefined) throw new StepError("the database exported no snapshot");
  return { exported: row.exported, snapshot: await currentSnapshot(client) };
}

/** A name with the current second, or with the next one that is free. */
async function freeName(
  directory: string,
  { name, format, recipients }: Request,
  signal: AbortSignal,
): Promise<{ file: string; time: Date }> {
  for (;;) {
    const time = new Date();
    const file = snapshotName(name, timestampOf(time), format, recipients.length > 0);
    // The manifest has the same name in all formats.
    const taken = await Promise.any([file, manifestName(file)].map((one) => stat(join(directory, one)))).then(
      () => true,
      () => false,
    );
    if (!taken) return { file, time };
    await sleep(200, undefined, { signal });
  }
}

interface Taken {
  dump: Dump;
  contents: Contents;
  visibility: RowVisibility;
  queuedJobs: number | null;
}

/** Dumps and counts side by side, in one view of the database. */
async function take(
  partial: string,
  { format, recipients, withoutOwners }: Request,
  expected: number,
  { client, connection, context }: { client: pg.Client; connection: Connection; context: StepContext },
): Promise<Taken> {
  const { exported, snapshot } = await exportSnapshot(client);
  const stop = new AbortController();
  const signal = AbortSignal.any([context.signal, stop.signal]);
  const source: DumpSource = {
    environment: connectionEnvironment(connection, "togather-snapshot"),
    database: connection.database,
    snapshot: exported,
    withoutOwners: withoutOwners === true,
    expectedBytes: expected,
  };
  const dumping =
    format === "directory"
      ? dumpDirectory(partial, source, { ...context, signal })
      : dump(partial, { format, recipients }, source, { ...context, signal });
  const counting = readContents(client, { snapshot });
  try {
    const [made, { seen, ...contents }] = await Promise.all([dumping, counting]);
    const jobs = await queuedJobs(client);
    await client.query("COMMIT");
    return { dump: made, contents, visibility: rowVisibility(snapshot, seen), queuedJobs: jobs };
  } catch (error) {
    stop.abort(error);
    await Promise.allSettled([dumping, client.end()]);
    throw error;
  }
}

/** Attributes that a restore needs where the database is gone. */
async function attributesOf(client: pg.Client, database: string): Promise<Manifest["attributes"]> {
  const attributes = await readDatabaseAttributes(client, database);
  return attributes && withoutOwnSettings(attributes);
}

/** The error for an object that the role may not read, with its remedy. Undefined: another error. */
function unreadable(error: unknown, { user, database }: Connection): StepError | undefined {
  const said = error instanceof pg.DatabaseError ? error.message : serverError(messageOf(error))?.said;
  const [, what, name = ""] =
    /^permission denied for ((?:foreign table|materialized view|large object|table|view|sequence|schema) (.*))$/.exec(
      said ?? "",
    ) ?? [];
  if (what === undefined) return undefined;
  const role = pg.escapeIdentifier(user);
  const grant = what.startsWith("large object")
    ? `GRANT SELECT ON LARGE OBJECT ${name} TO ${role};`
    : `GRANT pg_read_all_data TO ${role}; or make it its owner`;
  return new StepError(
    `no snapshot can be taken: role ${user} may not read the ${what}, and a dump leaves nothing out`,
    {
      hint: `as a superuser of the database ${database}: ${grant}`,
    },
  );
}

/** The error for a table of which the role would see only some rows, with its remedy. Undefined: another error. */
function hiddenRows(error: unknown, { user, host, database }: Connection): StepError | undefined {
  const [, table] =
    /query would be affected by row-level security policy for table "(.*?)"/.exec(messageOf(error)) ?? [];
  if (table === undefined) return undefined;
  const sql = `ALTER ROLE ${pg.escapeIdentifier(user)} BYPASSRLS`;
  const how = isContainerHost(host)
    ? `docker exec -u postgres ${host} psql -d ${database} -c '${sql}'`
    : `as a superuser of the database: ${sql};`;
  return new StepError(
    `row-level security of the table ${table} is in force for the role ${user}, which takes snapshots: it would leave rows out`,
    {
      hint: `${how}, or ALTER TABLE ${table} NO FORCE ROW LEVEL SECURITY; then run the same command again`,
      cause: error,
    },
  );
}

/**
 * The snapshot that the step's last run took before this very release. Only its settings have changed since then, and
 * the release may have migrated the database: a new snapshot would not be from before its migrations.
 * @returns undefined when it is gone, or of another database or release.
 */
async function takenBefore(
  { previous, release }: Request,
  client: pg.Client,
  directory: string,
): Promise<Manifest | undefined> {
  if (previous === undefined) return undefined;
  const file = basename(previous.file);
  const manifest = await readManifest(join(directory, manifestName(file)));
  if (
    manifest?.sha256 !== previous.sha256 ||
    manifest.before_commit !== release.commit ||
    manifest.before_version !== release.version
  )
    return undefined;
  if ((await transactionsSince(client, manifest)) === undefined) return undefined;
  return stat(join(directory, file)).then(
    () => manifest,
    () => undefined,
  );
}

const resultOf = (
  { file, bytes, sha256, migration_version: migrationVersion, duration_ms: durationMs }: Manifest,
  backupLocation: string,
): StepResult<"snapshot"> => ({ file: joinOnHost(backupLocation, file), bytes, sha256, migrationVersion, durationMs });

/** Warns of objects that a restore can't bring back. */
function warnOfMissing({ subscriptions, hiddenMappings }: Facts, user: string, { log }: StepContext): void {
  // A copy of a subscription would fetch, from the same slot, changes that are for the live database. A database with a
  // subscription can't be dropped.
  if (subscriptions !== null)
    log.warn(
      `snapshot: the subscription ${subscriptions} (logical replication) is in no snapshot; after a restore it has to be made again`,
    );
  if (hiddenMappings !== null)
    log.warn(
      `snapshot: the server does not show role ${user} the options of the user mapping of ${hiddenMappings} (foreign server): they are in no snapshot, and after a restore have to be given again`,
    );
}

/** A snapshot that is about to be published. */
interface Written {
  file: string;
  time: Date;
  taken: Taken;
  facts: Facts;
  database: string;
  attributes: Manifest["attributes"];
  toolVersion: string;
  durationMs: number;
}

function manifestOf(
  request: Request,
  { file, time, taken, facts, database, attributes, toolVersion, durationMs }: Written,
): Manifest {
  const { name, environment, release, reason, format, recipients } = request;
  const withoutOwners = request.withoutOwners === true;
  const { contents, visibility, queuedJobs, dump: made } = taken;
  return {
    file,
    format,
    recipients,
    time: time.toISOString(),
    deployment: name,
    environment,
    before_version: release.version,
    before_commit: release.commit,
    ...(reason === undefined ? {} : { reason }),
    database,
    // The oid means nothing on another server.
    database_oid: withoutOwners ? 0 : facts.databaseOid,
    database_version: facts.databaseVersion,
    database_bytes: facts.databaseBytes,
    tool_version: toolVersion,
    migration_version: contents.migration.version,
    migration_dirty: contents.migration.dirty,
    tables: contents.tables,
    rows: rowsOf(contents.tables),
    extensions: contents.extensions,
    ...(withoutOwners ? {} : { extension_owners: facts.extensionOwners }),
    next_transaction: visibility.snapshot.split(":")[1] ?? "",
    visibility,
    queued_jobs: queuedJobs,
    attributes,
    bytes: made.bytes,
    sha256: made.sha256,
    plain_bytes: made.plainBytes,
    roles_bytes: made.rolesBytes,
    ...(withoutOwners ? { without_owners: { extension_relations: facts.extensionRelations } } : {}),
    duration_ms: durationMs,
  };
}

/** Takes a new snapshot and publishes it. On failure nothing of it is left. */
async function takeNew(
  request: Request,
  facts: Facts,
  {
    client,
    connection,
    context,
    started,
  }: { client: pg.Client; connection: Connection; context: StepContext; started: number },
): Promise<Manifest> {
  const { format, backupLocation, release } = request;
  const { log, signal, paths } = context;
  const directory = paths.backups;
  const dumping = withClientFor(context, facts.databaseMajor);
  const tool = await execa("pg_dump", ["--version"], {
    env: { PATH: dumping.env["PATH"] },
    extendEnv: false,
    cancelSignal: signal,
  });
  await checkFreeSpace(directory, backupLocation, facts);
  const { file, time } = await freeName(directory, request, signal);
  const partial = join(directory, `${file}.partial`);
  const when =
    request.reason === undefined ? `before ${release.version}` : `while ${release.version} serves: ${request.reason}`;
  log.info(
    `snapshot: ${formatBytes(facts.databaseBytes)} database, ${request.withoutOwners === true ? `of PostgreSQL ${facts.databaseVersion}, without owners and rights` : when}`,
  );
  warnOfMissing(facts, connection.user, context);
  try {
    const expected = await expectedBytes(directory, request, facts);
    const taken = await take(partial, request, expected, { client, connection, context: dumping });
    const written = await flushSnapshot(partial, format, directory);
    if (written !== taken.dump.bytes)
      throw new StepError(`the snapshot has ${written} bytes on disk, expected ${taken.dump.bytes}`, {
        hint: "dmesg, on the Docker host: the disk may be failing",
      });
    signal.throwIfAborted();
    const { database } = connection;
    const manifest = manifestOf(request, {
      file,
      time,
      taken,
      facts,
      database,
      attributes: await attributesOf(client, database),
      toolVersion: tool.stdout.trim(),
      durationMs: Math.round(performance.now() - started),
    });
    await publishSnapshot(directory, partial, manifest);
    return manifest;
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw hiddenRows(error, connection) ?? unreadable(error, connection) ?? error;
  }
}

/** Takes a snapshot of the database, and removes expired ones. */
export async function run(request: Request, context: StepContext): Promise<StepResult<"snapshot">> {
  const { name, backupLocation, retention, keepVerified, release, format, recipients } = request;
  const { log, signal, env, paths } = context;
  const directory = paths.backups;
  return withSnapshotLock(context, async () => {
    const started = performance.now();
    if (format === "directory" && recipients.length > 0)
      throw new StepError("a snapshot in the format directory can't be encrypted", {
        hint: "database.snapshot_format: sql.zst or sql.gz, or no database.snapshot_recipients",
      });
    // Remains of a killed run. The lock is held: nobody else writes here.
    await removeLeftovers(directory, name);
    return withDatabase(
      { url: env["DATABASE_URL"], applicationName: "togather-snapshot", signal },
      async (client, connection) => {
        const before = await takenBefore(request, client, directory);
        if (before !== undefined) {
          log.info(
            `snapshot: ${before.file} is from before ${release.version} already; settings that have changed are for the next one`,
          );
          return resultOf(before, backupLocation);
        }
        const facts = await gatherFacts(client);
        const manifest = await takeNew(request, facts, { client, connection, context, started });
        const { file, bytes, sha256, rows, tables, migration_version: version, duration_ms: durationMs } = manifest;
        log.info(
          `snapshot: ${joinOnHost(backupLocation, file)}, ${formatBytes(bytes)} in ${seconds(durationMs)}: ${rows} rows in ${Object.keys(tables).length} tables, schema version ${version ?? "none"}`,
          { sha256, bytes },
        );
        for (const expired of await expireSnapshots(directory, { name, keep: retention, keepVerified, never: file }))
          log.info(`snapshot: ${expired} is older than the newest ${retention}, removed`);
        return resultOf(manifest, backupLocation);
      },
    );
  });
}
