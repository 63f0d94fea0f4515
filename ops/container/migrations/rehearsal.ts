/**
 * Runs pending migrations on a copy of the data: whether they succeed, how long they take, and what they lock, rewrite
 * and add.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type pg from "pg";
import { parseDatabaseUrl, type Connection } from "../../contract/connection.ts";
import { containerName } from "../../contract/names.ts";
import type { StepContext } from "../../contract/context.ts";
import type { StepRequest, StepResult } from "../../contract/steps.ts";
import { StepError } from "../../contract/errors.ts";
import { extensionHint } from "../database/extension-tables.ts";
import { migrateRiver, migrateUp, sessionChanged, type MigrationFiles } from "./golang-migrate.ts";
import { waiting, watchLocks } from "./lock-watch.ts";
import { noticedMs, type Measured } from "../../contract/migration-findings.ts";
import { describeFailure, failedBehindFile, failedLine, type MigrationFile } from "../../contract/migrations.ts";
import { ownSchemas, readSchemaVersion } from "../database/sql.ts";
import { formatBytes, seconds } from "../../contract/units.ts";

export type RehearsedFile = StepResult<"rehearse">["files"][number];

interface Rehearsal {
  request: StepRequest<"rehearse">;
  files: MigrationFiles;
  todo: readonly MigrationFile[];
  /** The scratch database, as the role that migrates. */
  connection: Connection;
  /** The same connection as a URL, for River's program. */
  url: string;
  /** Connected to the scratch database, as a role that sees that session's locks. */
  watcher: pg.Client;
}

/** The storage file of each table, which changes when the table is rewritten, and its size. */
async function storage(client: pg.Client): Promise<Map<string, { table: string; file: string; bytes: number }>> {
  const { rows } = await client.query<{ oid: string; table: string; file: string; bytes: string }>(
    `SELECT oid::text, oid::regclass::text AS table, pg_relation_filenode(oid)::text AS file, pg_relation_size(oid)::text AS bytes FROM pg_class WHERE relkind IN ('r', 'm') AND relname <> 'schema_migrations' AND relnamespace IN ${ownSchemas}`,
  );
  return new Map(rows.map(({ oid, table, file, bytes }) => [oid, { table, file, bytes: Number(bytes) }]));
}

/** Unique indexes by table and columns, whatever their names. */
async function uniqueIndexes(client: pg.Client): Promise<Map<string, { table: string; name: string }>> {
  const { rows } = await client.query<{ table: string; name: string; what: string }>(
    `SELECT x.indrelid::regclass::text AS table, x.indexrelid::regclass::text AS name,
            concat_ws('|', x.indrelid, (SELECT string_agg(k::text, ',') FROM unnest(x.indkey[0:x.indnkeyatts - 1]) k), pg_get_expr(x.indexprs, x.indrelid), pg_get_expr(x.indpred, x.indrelid)) AS what
       FROM pg_index x JOIN pg_class t ON t.oid = x.indrelid WHERE (x.indisunique OR x.indisexclusion) AND x.indisvalid AND t.relnamespace IN ${ownSchemas}`,
  );
  return new Map(rows.map(({ table, name, what }) => [what, { table, name }]));
}

async function databaseSize(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ bytes: string }>("SELECT pg_database_size(current_database())::text AS bytes");
  return Number(rows[0]?.bytes ?? 0);
}

/** One file's result as text, for the operator who decides about the real run. */
export function describeFile({ file, durationMs, locks, rewritten, bytes }: RehearsedFile): string {
  const held = locks
    .filter(({ heldMs }) => heldMs > 0)
    .map(({ table, mode, heldMs }) => `${table} is locked for ${seconds(heldMs)}: ${waiting(mode)} (${mode})`);
  const parts = [
    ...held,
    ...(rewritten.length === 0 ? [] : [`${rewritten.join(", ")} written anew`]),
    ...(Math.abs(bytes) < 100_000
      ? []
      : [`the database ${bytes < 0 ? "shrinks" : "grows"} by ${formatBytes(Math.abs(bytes))}`]),
  ];
  return `${file} takes ${seconds(durationMs)} on a copy of the data${parts.length === 0 ? "" : `; ${parts.join("; ")}`}`;
}

async function rehearseFile(
  rehearsal: Rehearsal,
  file: MigrationFile,
  context: StepContext,
): Promise<{ one: RehearsedFile; lostUnique: string[] }> {
  const { request, files, todo, connection, watcher } = rehearsal;
  const { statementTimeoutMs } = request;
  const lockTimeoutMs = files.facts[file.file]?.waits === true ? statementTimeoutMs : request.lockTimeoutMs;
  const applicationName = `togather-rehearsal ${request.release.version}`.slice(0, 63);
  const [tables, size, unique] = [await storage(watcher), await databaseSize(watcher), await uniqueIndexes(watcher)];
  const started = performance.now();
  const { value, locks } = await watchLocks(watcher, applicationName, () =>
    migrateUp(
      { directory: files.directory, connection, applicationName, lockTimeoutMs, statementTimeoutMs, count: 1 },
      context,
    ),
  );
  context.signal.throwIfAborted();
  const durationMs = Math.round(performance.now() - started);
  const schema = await readSchemaVersion(watcher);
  // Not by the exit code alone: it is 0 when migrate was interrupted.
  if (value.failed || schema.dirty || schema.version !== file.version) {
    const { message } = describeFailure(value.stderr);
    const line = failedLine(value.stderr, files.facts[file.file]?.lines);
    const { database } = parseDatabaseUrl(context.env["DATABASE_URL"]);
    const refused = await extensionHint(watcher, {
      role: connection.user,
      database,
      message,
      bundled: connection.host === containerName(request.name, "database"),
    });
    throw new StepError(
      `migration ${file.file}${line === undefined ? "" : `, line ${line}`} (file ${todo.indexOf(file) + 1} of ${todo.length}) fails on a copy of the data: ${message}. The database itself was not touched; what serves goes on`,
      {
        hint: `${failedBehindFile(value.stderr) ? `what failed is golang-migrate's note of the file: ${sessionChanged}. ` : ""}${refused ?? "correct the file, commit it and release that commit"}`,
      },
    );
  }
  const after = await storage(watcher);
  const rewritten = [...tables].flatMap(([oid, { table, file: before, bytes }]) => {
    const now = after.get(oid);
    return now === undefined || now.file === before || bytes === 0 ? [] : [table];
  });
  const still = await uniqueIndexes(watcher);
  const left = new Set([...after.values()].map(({ table }) => table));
  const lostUnique = [...unique].flatMap(([what, { table, name }]) =>
    still.has(what) || !left.has(table) ? [] : [name],
  );
  return {
    one: { file: file.file, durationMs, locks, rewritten, bytes: (await databaseSize(watcher)) - size },
    lostUnique,
  };
}

/**
 * Maximum of tables that a result names: Pulumi passes it to the step's next run as one environment variable. The log
 * has all of them.
 */
const namedTables = 200;

/** The files without the least important tables, where there are too many: partitions, most often. */
export function inResult(files: readonly RehearsedFile[]): RehearsedFile[] {
  const each = Math.max(1, Math.floor(namedTables / Math.max(1, files.length)));
  return files.map((file) => ({ ...file, locks: file.locks.slice(0, each), rewritten: file.rewritten.slice(0, each) }));
}

/**
 * Names (without schema) of foreign tables: their rows are on another server, and a copy of the database reaches the
 * same rows.
 */
async function foreignTables(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    "SELECT DISTINCT relname AS name FROM pg_class WHERE relkind = 'f' ORDER BY 1",
  );
  return rows.map(({ name }) => name);
}

/**
 * The lines of a file that name one of these tables. A statement that only reads, or another table of the same name,
 * matches too: the file is then not rehearsed.
 */
async function naming(tables: readonly string[], path: string): Promise<{ line: number; what: string }[]> {
  if (tables.length === 0) return [];
  const lines = (await readFile(path, "utf8")).split("\n");
  return tables.flatMap((table) => {
    const name = new RegExp(`(?<!\\w)${table.replace(/\W/g, "\\$&")}(?!\\w)`, "i");
    const line = lines.findIndex((text) => name.test(text));
    return line === -1
      ? []
      : [{ line: line + 1, what: `the foreign table ${table}, whose rows are another server's,` }];
  });
}

/**
 * Runs the files one by one, then River's own migrations. Stops before a file whose statements reach beyond the copy:
 * those would act on the live system.
 * @returns the results for people, and the measurements for the lint.
 * @throws {StepError} with file and line of the first failure.
 */
export async function rehearse(
  rehearsal: Rehearsal,
  context: StepContext,
): Promise<{ rehearsed: RehearsedFile[]; measured: Map<string, Measured> }> {
  const { log } = context;
  const done: RehearsedFile[] = [];
  const measured = new Map<string, Measured>();
  const foreign = await foreignTables(rehearsal.watcher);
  const { tasks, serving } = rehearsal.request;
  if (foreign.length > 0 && (tasks !== undefined || (serving !== null && rehearsal.todo.length > 0)))
    log.warn(
      `rehearsal: the copy's foreign tables (${foreign.join(", ")}) are those of the other server: what a task, or the release that serves, writes into them on the copy is written there`,
    );
  for (const file of rehearsal.todo) {
    const [beyond] = [
      ...(rehearsal.files.facts[file.file]?.beyond ?? []),
      ...(await naming(foreign, join(rehearsal.files.directory, file.file))),
    ];
    if (beyond !== undefined) {
      const rest = rehearsal.todo.slice(rehearsal.todo.indexOf(file) + 1);
      log.warn(
        `rehearsal: ${file.file}, line ${beyond.line}: ${beyond.what} acts beyond the database that it runs in, and a copy does not hold it back: ${rest.length === 0 ? "it is" : `it, and what comes after it (${rest.map((one) => one.file).join(", ")}), are`} not rehearsed`,
      );
      break;
    }
    const { one, lostUnique } = await rehearseFile(rehearsal, file, context);
    done.push(one);
    measured.set(file.file, {
      heldMs: Math.max(0, ...one.locks.map(({ heldMs }) => heldMs)),
      durationMs: one.durationMs,
      lostUnique,
    });
    const text = `rehearsal: ${describeFile(one)}`;
    if (one.locks.some(({ heldMs }) => heldMs > noticedMs)) log.warn(text, { ...one });
    else log.info(text, { ...one });
    if (lostUnique.length > 0)
      log.warn(
        `rehearsal: ${file.file} takes away what was unique (${lostUnique.join(", ")}): an ON CONFLICT of the release that serves fails without it`,
      );
  }
  if (rehearsal.request.river && done.length === rehearsal.todo.length)
    await migrateRiver(rehearsal.request, context, "rehearsal", rehearsal.url);
  return { rehearsed: inResult(done), measured };
}
