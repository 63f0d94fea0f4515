/** Pending migrations, run on a copy of the data first: whether they work there, how long they take, and what they lock, rewrite and add. */
import type pg from "pg";
import { parseDatabaseUrl, type Connection } from "./connection.ts";
import type { StepContext } from "./context.ts";
import type { StepRequest, StepResult } from "./contract.ts";
import { StepError } from "./errors.ts";
import { refusedExtensionTable } from "./extension-tables.ts";
import { migrateRiver, migrateUp, type MigrationFiles } from "./golang-migrate.ts";
import { waiting, watchLocks } from "./lock-watch.ts";
import { describeFailure, failedLine, type MigrationFile } from "./migrations.ts";
import { ownSchemas, readSchemaVersion } from "./sql.ts";
import { formatBytes, seconds } from "./units.ts";

export type RehearsedFile = StepResult<"rehearse">["files"][number];

/** Others waiting for longer than this is a warning, in ms: a request that takes a second is one that people notice. */
const noticedMs = 1_000;

interface Rehearsal {
  request: StepRequest<"rehearse">;
  files: MigrationFiles;
  todo: readonly MigrationFile[];
  /** The scratch database, as the role that migrates. */
  connection: Connection;
  /** The same with which DATABASE_URL is told to River's program. */
  url: string;
  /** Connected to it, as a role that sees that session's locks. */
  watcher: pg.Client;
}

/** The file of each table, by which a table that is written anew is known, and whether there is anything in it. */
async function storage(client: pg.Client): Promise<Map<string, { table: string; file: string; bytes: number }>> {
  const { rows } = await client.query<{ oid: string; table: string; file: string; bytes: string }>(
    `SELECT oid::text, oid::regclass::text AS table, pg_relation_filenode(oid)::text AS file, pg_relation_size(oid)::text AS bytes FROM pg_class WHERE relkind IN ('r', 'm') AND relname <> 'schema_migrations' AND relnamespace IN ${ownSchemas}`,
  );
  return new Map(rows.map(({ oid, table, file, bytes }) => [oid, { table, file, bytes: Number(bytes) }]));
}

async function databaseSize(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ bytes: string }>("SELECT pg_database_size(current_database())::text AS bytes");
  return Number(rows[0]?.bytes ?? 0);
}

/** One file in words: what an operator wants to know before it is run for good. */
export function describeFile({ file, durationMs, locks, rewritten, bytes }: RehearsedFile): string {
  const held = locks.filter(({ heldMs }) => heldMs > 0).map(({ table, mode, heldMs }) => `${table} is locked for ${seconds(heldMs)}: ${waiting(mode)} (${mode})`);
  const parts = [...held, ...(rewritten.length === 0 ? [] : [`${rewritten.join(", ")} written anew`]), ...(Math.abs(bytes) < 100_000 ? [] : [`the database ${bytes < 0 ? "shrinks" : "grows"} by ${formatBytes(Math.abs(bytes))}`])];
  return `${file} takes ${seconds(durationMs)} on a copy of the data${parts.length === 0 ? "" : `; ${parts.join("; ")}`}`;
}

async function rehearseFile(rehearsal: Rehearsal, file: MigrationFile, context: StepContext): Promise<RehearsedFile> {
  const { request, files, todo, connection, watcher } = rehearsal;
  const { statementTimeoutMs } = request;
  const lockTimeoutMs = files.facts[file.file]?.waits === true ? statementTimeoutMs : request.lockTimeoutMs;
  const applicationName = `togather-rehearsal ${request.release.version}`.slice(0, 63);
  const [tables, size] = [await storage(watcher), await databaseSize(watcher)];
  const started = performance.now();
  const { value, locks } = await watchLocks(watcher, applicationName, () => migrateUp({ directory: files.directory, connection, applicationName, lockTimeoutMs, statementTimeoutMs, count: 1 }, context));
  context.signal.throwIfAborted();
  const durationMs = Math.round(performance.now() - started);
  const schema = await readSchemaVersion(watcher);
  // Not by the exit code alone: it is 0 when migrate was interrupted.
  if (value.failed || schema.dirty || schema.version !== file.version) {
    const { message } = describeFailure(value.stderr);
    const line = failedLine(value.stderr, files.facts[file.file]?.lines);
    const refused = await refusedExtensionTable(watcher, { role: connection.user, database: parseDatabaseUrl(context.env["DATABASE_URL"]).database, message });
    throw new StepError(
      `migration ${file.file}${line === undefined ? "" : `, line ${line}`} (file ${todo.indexOf(file) + 1} of ${todo.length}) fails on a copy of the data: ${message}. The database itself was not touched; what serves goes on`,
      { hint: refused ?? "correct the file, commit it and release that commit" },
    );
  }
  const after = await storage(watcher);
  const rewritten = [...tables].flatMap(([oid, { table, file: before, bytes }]) => {
    const now = after.get(oid);
    return now === undefined || now.file === before || bytes === 0 ? [] : [table];
  });
  return { file: file.file, durationMs, locks, rewritten, bytes: (await databaseSize(watcher)) - size };
}

/** Tables that a result names in all: Pulumi hands it to the step's next run as one environment variable. The log has each of them. */
const namedTables = 200;

/** Without the tables that matter least, where there are many: partitions, most often. */
export function inResult(files: readonly RehearsedFile[]): RehearsedFile[] {
  const each = Math.max(1, Math.floor(namedTables / Math.max(1, files.length)));
  return files.map((file) => ({ ...file, locks: file.locks.slice(0, each), rewritten: file.rewritten.slice(0, each) }));
}

/**
 * Runs the files one by one, then River's own.
 * @throws {StepError} with file and line of the first that fails.
 */
export async function rehearse(rehearsal: Rehearsal, context: StepContext): Promise<RehearsedFile[]> {
  const done: RehearsedFile[] = [];
  for (const file of rehearsal.todo) {
    const one = await rehearseFile(rehearsal, file, context);
    done.push(one);
    const text = `rehearsal: ${describeFile(one)}`;
    if (one.locks.some(({ heldMs }) => heldMs > noticedMs)) context.log.warn(text, { ...one });
    else context.log.info(text, { ...one });
  }
  if (rehearsal.request.river) await migrateRiver(rehearsal.request, context, "rehearsal", rehearsal.url);
  return inResult(done);
}
