import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import type { Connection } from "../connection.ts";
import type { StepContext } from "../context.ts";
import type { StepRequest, StepResult } from "../contract.ts";
import { StepError } from "../errors.ts";
import { refusedExtensionTable } from "../extension-tables.ts";
import { migrateRiver, migrateUp, withMigrationFiles, type MigrationFiles } from "../golang-migrate.ts";
import { reviewFindings } from "../migration-findings.ts";
import { takeMigrationLock } from "../migration-lock.ts";
import { describeFailure, failedLine, isOneTransaction, type MigrationFile } from "../migrations.ts";
import { readSchemaVersion, withDatabase, type SchemaVersion } from "../sql.ts";

type Request = StepRequest<"migrate">;

/** The command with which a person sets golang-migrate's version by hand. */
function repairCommand(request: Request, connection: Connection, version: number | undefined): string {
  const sql = version === undefined ? "DELETE FROM schema_migrations" : `UPDATE schema_migrations SET version = ${version}, dirty = false`;
  const bundled = `togather-${request.name}-db`;
  return connection.host === bundled ? `docker exec ${bundled} psql -U ${connection.user} -d ${connection.database} -c "${sql}"` : `psql "$DATABASE_URL" -c "${sql}"`;
}

/** The version that comes before another one. */
function versionBefore(up: readonly MigrationFile[], version: number | null): number | undefined {
  return up.findLast((file) => file.version < (version ?? 0))?.version;
}

async function invalidIndexes(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>("SELECT indexrelid::regclass::text AS name FROM pg_index WHERE NOT indisvalid");
  return rows.map(({ name }) => name);
}

async function refuseDirty(request: Request, connection: Connection, client: pg.Client, up: readonly MigrationFile[], schema: SchemaVersion): Promise<never> {
  const { version } = schema;
  const file = up.find((entry) => entry.version === version)?.file ?? `version ${version}`;
  const invalid = await invalidIndexes(client);
  const left = invalid.length === 0 ? "" : ` Indexes that an interrupted build left behind: ${invalid.join(", ")}: drop them first.`;
  throw new StepError(
    `schema version ${version} is dirty: ${file} failed half-way or was killed, and nobody knows what it has done. Nothing was changed. Look at what of it is there.${left}`,
    { hint: `if nothing of it is there: ${repairCommand(request, connection, versionBefore(up, version))}\n${" ".repeat(17)}→ if all of it is there: ${repairCommand(request, connection, version ?? undefined)}` },
  );
}

interface Run {
  request: Request;
  context: StepContext;
  client: pg.Client;
  connection: Connection;
  files: MigrationFiles;
}

/** Between two attempts to have a lock. */
const lockPauseMs = 2_000;
/** SQLSTATE of a statement that could not have a lock in time. */
const lockNotAvailable = "55P03";

/** A lock could not be had in time, and nothing was changed: the same may be tried again. */
class LockNotHad extends StepError {}
const lockHint = "a transaction holds the table: SELECT pid, state, xact_start, query FROM pg_stat_activity ORDER BY xact_start; then the same again";

/** Says what failed, and puts golang-migrate's version right where PostgreSQL has undone everything itself. */
async function explainFailure(run: Run, stderr: string, before: SchemaVersion): Promise<never> {
  const { request, context, client, connection, files } = run;
  const { message, sqlState } = describeFailure(stderr);
  const after = await readSchemaVersion(client);
  if (!after.dirty) {
    const clean = `The schema is at version ${after.version ?? "none"} and clean.`;
    if (sqlState === lockNotAvailable) throw new LockNotHad(`migrate failed: ${message}; somebody else holds golang-migrate's lock, or a table, for more than ${request.lockTimeoutMs / 1000} s. ${clean}`, { hint: lockHint });
    throw new StepError(`migrate failed: ${message}. ${clean}`);
  }
  const failed = files.up.find((entry) => entry.version === after.version);
  const line = failedLine(stderr);
  const todo = files.up.filter(({ version }) => version > (before.version ?? 0));
  const place = failed === undefined ? `version ${after.version}` : `${failed.file}${line === undefined ? "" : `, line ${line}`} (file ${todo.indexOf(failed) + 1} of ${todo.length})`;
  const previous = versionBefore(files.up, after.version);
  const sql = failed === undefined ? "" : await readFile(join(files.directory, failed.file), "utf8");

  if (failed !== undefined && sqlState !== undefined && !sqlState.startsWith("57P") && isOneTransaction(sql)) {
    // An error that the server itself reported, in a file that is one transaction: all of it was rolled back.
    if (previous === undefined) await client.query("DELETE FROM schema_migrations WHERE version = $1 AND dirty", [after.version]);
    else await client.query("UPDATE schema_migrations SET version = $1, dirty = false WHERE version = $2 AND dirty", [previous, after.version]);
    const kept = todo.indexOf(failed);
    const what = `migration ${place} failed: ${message}. It was rolled back as a whole; the schema is at version ${previous ?? "none"} and clean${kept === 0 ? "" : `, with ${kept} new ${kept === 1 ? "file" : "files"} applied`}.`;
    if (sqlState === lockNotAvailable) throw new LockNotHad(what, { hint: lockHint });
    const refused = await refusedExtensionTable(client, { role: connection.user, database: connection.database, message });
    throw new StepError(what, { hint: refused ?? "correct the file, commit it and release that commit" });
  }
  const invalid = await invalidIndexes(client);
  const why = sqlState === undefined ? "the connection ended before the server could tell" : "it holds statements that are no part of a transaction";
  context.log.debug(`migrate said: ${stderr.slice(0, 2000)}`);
  throw new StepError(
    `migration ${place} failed: ${message}. It may not have been rolled back (${why}): schema version ${after.version} is dirty.${invalid.length === 0 ? "" : ` Invalid indexes: ${invalid.join(", ")}: drop them.`}`,
    { hint: `undo what it has done by hand, then: ${repairCommand(request, connection, previous)}` },
  );
}

/**
 * Applies all files that are new. A lock that can't be had in time is given up and tried again later: whoever waits for it holds up all that
 * comes behind.
 */
async function applyAll(run: Run, before: SchemaVersion): Promise<void> {
  const { request, context, client, connection, files } = run;
  const { lockTimeoutMs, statementTimeoutMs, lockAttempts } = request;
  const { log, signal } = context;
  for (let attempt = 1; ; attempt++) {
    const { failed, stderr } = await migrateUp({ directory: files.directory, connection, applicationName: `togather-migrate ${request.release.version}`, lockTimeoutMs, statementTimeoutMs }, context);
    const { dirty } = await readSchemaVersion(client);
    signal.throwIfAborted();
    // Not by the exit code alone: it is 0 when migrate was interrupted, and when the version is dirty.
    if (!dirty && !failed) return;
    try {
      await explainFailure(run, stderr, before);
    } catch (error) {
      if (!(error instanceof LockNotHad) || attempt >= lockAttempts) throw error;
      log.info(`migrate: a lock was not to be had within ${lockTimeoutMs / 1000} s, and was given up so that nobody waits behind it; attempt ${attempt + 1} of ${lockAttempts} in ${lockPauseMs / 1000} s`);
    }
    await sleep(lockPauseMs, undefined, { signal });
  }
}

/** Brings the schema to what the release needs. What is there already, or newer, stays. */
export async function run(request: Request, context: StepContext): Promise<StepResult<"migrate">> {
  const started = performance.now();
  const { log, signal, env } = context;
  return withMigrationFiles(request, context, (files) =>
    withDatabase({ url: env["DATABASE_URL"], applicationName: `togather-migrate ${request.release.version}`.slice(0, 63), signal }, async (client, connection) => {
      // A file that runs into its limits has to be waited for, and so have those before it.
      await takeMigrationLock(client, { waitMs: request.statementTimeoutMs, signal, onWait: (message) => { log.info(`migrate: ${message}`); } });
      const before = await readSchemaVersion(client);
      if (before.dirty) await refuseDirty(request, connection, client, files.up, before);
      const expected = files.up.at(-1)?.version ?? null;
      const todo = files.up.filter(({ version }) => version > (before.version ?? 0));

      if (todo.length === 0) {
        const ahead = (before.version ?? 0) > (expected ?? 0);
        log.info(`migrate: ${ahead ? `the schema is ahead of ${request.release.version} (version ${before.version}, its own ${expected ?? "none"}) and stays as it is` : `schema version ${before.version ?? "none"}, nothing to do`}`);
      } else {
        log.info(`migrate: from version ${before.version ?? "none"} to ${expected}: ${todo.map(({ file }) => file).join(", ")}`);
        // In a database without a version there is nothing yet that a migration could harm.
        if (before.version !== null) reviewFindings(request.lint, files.findings, todo, log);
        await applyAll({ request, context, client, connection, files }, before);
        const after = await readSchemaVersion(client);
        if (after.version !== expected) throw new StepError(`the schema is at version ${after.version ?? "none"} after the migration, expected ${expected}`);
      }
      if (request.river) await migrateRiver(request, context, "migrate");
      const after = await readSchemaVersion(client);
      const applied = files.up.filter(({ version }) => version > (before.version ?? 0) && version <= (after.version ?? 0)).map(({ file }) => file);
      const durationMs = Math.round(performance.now() - started);
      log.info(`migrate: schema version ${after.version ?? "none"}`, { applied: applied.length, duration_ms: durationMs });
      return { from: before.version, to: after.version, expected, applied, durationMs };
    }),
  );
}
