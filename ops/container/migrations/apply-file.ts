/**
 * Applies one migration for good: with limits that fit it, again when it could not get a lock, and with clean-up after
 * a failure.
 */
import { containerName } from "../../contract/names.ts";
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import type { Connection } from "../../contract/connection.ts";
import type { StepContext } from "../../contract/context.ts";
import type { StepRequest } from "../../contract/steps.ts";
import { messageOf, StepError } from "../../contract/errors.ts";
import { extensionHint } from "../database/extension-tables.ts";
import type { FileFacts } from "../../contract/file-facts.ts";
import { lockHint, lockPauseMs, migrateUp, sessionChanged, type MigrationFiles } from "./golang-migrate.ts";
import { dropIndexes, indexText, invalidIndexes, leftBehind, type Index } from "../database/invalid-indexes.ts";
import {
  describeFailure,
  failedBehindFile,
  failedLine,
  versionBefore,
  type MigrationFile,
} from "../../contract/migrations.ts";
import { readSchemaVersion } from "../database/sql.ts";

export interface Run {
  request: StepRequest<"migrate">;
  context: StepContext;
  client: pg.Client;
  connection: Connection;
  files: MigrationFiles;
  /** The files to apply, in order. */
  todo: readonly MigrationFile[];
}

/** SQLSTATE of a statement that did not get a lock in time, and of a deadlock. */
const lockNotAvailable = "55P03";
const deadlock = "40P01";
const queryCanceled = "57014";
const syntaxError = "42601";

/** A lock was not available in time, and nothing was changed: the file can be tried again. */
class LockNotHad extends StepError {}
const waitHint =
  "a transaction is open all the while: SELECT pid, state, xact_start, query FROM pg_stat_activity ORDER BY xact_start; end it, then run the same command again";

/** The command with which a person sets golang-migrate's version by hand. */
export function repairCommand(
  { name }: Pick<StepRequest<"migrate">, "name">,
  connection: Connection,
  version: number | undefined,
): string {
  const sql =
    version === undefined
      ? "DELETE FROM schema_migrations"
      : `UPDATE schema_migrations SET version = ${version}, dirty = false`;
  const bundled = containerName(name, "database");
  return connection.host === bundled
    ? `docker exec ${bundled} psql -U ${connection.user} -d ${connection.database} -c "${sql}"`
    : `psql "$DATABASE_URL" -c "${sql}"`;
}

/** Resets golang-migrate's version after a file that has left nothing behind. */
async function takeBack(client: pg.Client, failed: MigrationFile, previous: number | undefined): Promise<void> {
  if (previous === undefined)
    await client.query("DELETE FROM schema_migrations WHERE version = $1 AND dirty", [failed.version]);
  else
    await client.query("UPDATE schema_migrations SET version = $1, dirty = false WHERE version = $2 AND dirty", [
      previous,
      failed.version,
    ]);
}

/**
 * Whether nothing of a failed file is left: PostgreSQL has rolled it back as a whole, or its remains were dropped here.
 * @returns a sentence about that. Undefined: unknown.
 */
async function undone(
  { request, client }: Run,
  facts: FileFacts | null | undefined,
  sqlState: string | undefined,
  before: readonly Index[],
): Promise<string | undefined> {
  // Only an error that the server reported itself shows that the statement has ended.
  if (sqlState === undefined || sqlState.startsWith("57P")) return undefined;
  // SQL that PostgreSQL 17's parser rejects may still be valid on a newer server. That server's own syntax error is
  // about the file as a whole.
  if (facts === undefined || facts === null)
    return sqlState === syntaxError ? "It was rolled back as a whole" : undefined;
  if (facts.oneTransaction) return "It was rolled back as a whole";
  if (!facts.runsAgain) return undefined;
  const left = leftBehind(facts, before, await invalidIndexes(client));
  await dropIndexes(client, left, request.statementTimeoutMs);
  return left.length === 0
    ? "Nothing of it is left"
    : `The invalid index that it left, ${left.map(indexText).join(", ")}, was dropped`;
}

/** Reports what failed, and corrects golang-migrate's version where nothing of the file is left. */
async function explainFailure(run: Run, file: MigrationFile, stderr: string, before: readonly Index[]): Promise<never> {
  const { request, context, client, connection, files, todo } = run;
  const { message, sqlState } = describeFailure(stderr);
  const facts = files.facts[file.file];
  const waits = facts?.waits === true;
  const waited = waits && (sqlState === lockNotAvailable || sqlState === queryCanceled);
  const after = await readSchemaVersion(client);
  if (!after.dirty) {
    const clean = `The schema is at version ${after.version ?? "none"} and clean.`;
    if (sqlState === lockNotAvailable)
      throw new LockNotHad(
        `migrate failed: ${message}; somebody else holds golang-migrate's lock, or a table, for more than ${request.lockTimeoutMs / 1000} s. ${clean}`,
        { hint: lockHint },
      );
    throw new StepError(`migrate failed: ${message}. ${clean}`);
  }
  const failed = files.up.find((entry) => entry.version === after.version);
  const line = failedLine(stderr, facts?.lines);
  const place =
    failed === undefined
      ? `version ${after.version}`
      : `${failed.file}${line === undefined ? "" : `, line ${line}`} (file ${todo.indexOf(failed) + 1} of ${todo.length})`;
  const previous = versionBefore(files.up, after.version);

  const problem: { text?: string } = {};
  const over =
    failed === undefined
      ? undefined
      : await undone(run, facts, sqlState, before).catch((error: unknown) => void (problem.text = messageOf(error)));
  if (failed !== undefined && over !== undefined) {
    await takeBack(client, failed, previous);
    const kept = todo.indexOf(failed);
    const what = `migration ${place} failed: ${message}. ${over}; the schema is at version ${previous ?? "none"} and clean${kept === 0 ? "" : `, with ${kept} new ${kept === 1 ? "file" : "files"} applied`}.`;
    if (waited || sqlState === lockNotAvailable || sqlState === deadlock)
      throw new LockNotHad(what, { hint: waited ? waitHint : lockHint });
    const hint = await extensionHint(client, {
      role: connection.user,
      database: connection.database,
      message,
      bundled: connection.host === containerName(request.name, "database"),
    });
    throw new StepError(what, { hint: hint ?? "correct the file, commit it and release that commit" });
  }
  const left = facts === undefined || facts === null ? [] : leftBehind(facts, before, await invalidIndexes(client));
  const why =
    sqlState === undefined
      ? "the connection ended before the server could tell"
      : (problem.text ?? "it holds statements that can't be part of a transaction");
  context.log.debug(`migrate said: ${stderr.slice(0, 2000)}`);
  throw new StepError(
    `migration ${place} failed: ${message}. It may not have been rolled back (${why}): schema version ${after.version} is dirty.${left.length === 0 ? "" : ` Invalid indexes: ${left.map(indexText).join(", ")}: drop them.`}`,
    { hint: `undo what it has done by hand, then: ${repairCommand(request, connection, previous)}` },
  );
}

/**
 * Sets the version for a file that succeeded where golang-migrate could not: otherwise the file would count as failed
 * and run twice.
 */
async function noteInItsPlace({ client, context }: Run, file: MigrationFile, stderr: string): Promise<void> {
  const { message, sqlState } = describeFailure(stderr);
  const why = sqlState === lockNotAvailable ? "somebody holds that table, a backup for example" : sessionChanged;
  context.log.warn(
    `migrate: ${file.file} was applied, but golang-migrate could not note it in schema_migrations (${message}): ${why}. It is noted now`,
  );
  await client.query("UPDATE schema_migrations SET dirty = false WHERE version = $1 AND dirty", [file.version]);
}

/**
 * Applies the next file. When a lock is not available in time, the file gives up and tries again later: a waiting lock
 * request blocks all requests behind it. A statement such as CREATE INDEX CONCURRENTLY blocks nobody while it waits for
 * older transactions of the database: it may wait as long as a statement may run.
 */
export async function applyFile(run: Run, file: MigrationFile): Promise<void> {
  const { request, context, client, connection, files } = run;
  const { log, signal } = context;
  const facts = files.facts[file.file];
  const waits = facts?.waits === true;
  const lockTimeoutMs = waits ? request.statementTimeoutMs : request.lockTimeoutMs;
  // Its own limit is as long as many attempts together.
  const attempts = waits ? Math.min(2, request.lockAttempts) : request.lockAttempts;
  for (let attempt = 1; ; attempt++) {
    const before = facts?.runsAgain === true ? await invalidIndexes(client) : [];
    const { failed, stderr } = await migrateUp(
      {
        directory: files.directory,
        connection,
        applicationName: `togather-migrate ${request.release.version}`,
        lockTimeoutMs,
        statementTimeoutMs: request.statementTimeoutMs,
        count: 1,
      },
      context,
    );
    const { version, dirty } = await readSchemaVersion(client);
    // Not by the exit code alone: it is 0 when migrate was interrupted, and when the version is dirty.
    if (!dirty && !failed) {
      signal.throwIfAborted();
      if (version === file.version) return;
      throw new StepError(`the schema is at version ${version ?? "none"} after ${file.file}, expected ${file.version}`);
    }
    const whole = facts?.oneTransaction === true || facts?.runsAgain === true;
    if (dirty && version === file.version && whole && failedBehindFile(stderr)) {
      await noteInItsPlace(run, file, stderr);
      signal.throwIfAborted();
      return;
    }
    try {
      await explainFailure(run, file, stderr, before);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof LockNotHad) || attempt >= attempts) throw error;
      log.info(
        `migrate: ${file.file}: a lock was not to be had within ${lockTimeoutMs / 1000} s, and was given up so that nobody waits behind it; attempt ${attempt + 1} of ${attempts} in ${lockPauseMs / 1000} s`,
      );
    }
    await sleep(lockPauseMs, undefined, { signal });
  }
}
