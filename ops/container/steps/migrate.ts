import type pg from "pg";
import { applyFile, repairCommand } from "../migrations/apply-file.ts";
import { appliedFiles, keyOf, noteApplied } from "../migrations/applied-migrations.ts";
import { pendingOf, refuseUnreachable, refuseUnread } from "../../contract/pending-migrations.ts";
import type { Connection } from "../../contract/connection.ts";
import type { CommandContext } from "../../contract/context.ts";
import type { StepRequest, StepResult } from "../../contract/steps.ts";
import { StepError } from "../../contract/errors.ts";
import { migrateRiver, refuseNoFiles, withMigrationFiles, type MigrationFiles } from "../migrations/golang-migrate.ts";
import { indexText, invalidIndexes, passedOver } from "../database/invalid-indexes.ts";
import { reviewFindings } from "../../contract/migration-findings.ts";
import { takeMigrationLock } from "../migrations/migration-lock.ts";
import { versionBefore, type MigrationFile } from "../../contract/migrations.ts";
import { openOwnSchemas } from "../database/own-schemas.ts";
import { measuredFiles } from "../migrations/rehearsed.ts";
import { readSchemaVersion, withDatabase, type SchemaVersion } from "../database/sql.ts";

type Request = StepRequest<"migrate">;

async function refuseDirty(
  request: Request,
  connection: Connection,
  client: pg.Client,
  up: readonly MigrationFile[],
  schema: SchemaVersion,
): Promise<never> {
  const { version } = schema;
  const file = up.find((entry) => entry.version === version)?.file ?? `version ${version}`;
  const invalid = await invalidIndexes(client);
  const left =
    invalid.length === 0
      ? ""
      : ` Indexes that an interrupted build left behind: ${invalid.map(indexText).join(", ")}: drop them first.`;
  throw new StepError(
    `schema version ${version} is dirty: ${file} failed half-way or was killed, and nobody knows what it has done. Nothing was changed. Look at what of it is there.${left}`,
    {
      hint: `if nothing of it is there: ${repairCommand(request, connection, versionBefore(up, version))}\n${" ".repeat(17)}→ if all of it is there: ${repairCommand(request, connection, version ?? undefined)}`,
    },
  );
}

/**
 * Refuses an invalid index with the name that a file creates with IF NOT EXISTS: an interrupted build left it. The file
 * would skip it, and no query would use it.
 */
async function refuseInvalidIndexes(
  client: pg.Client,
  { facts }: MigrationFiles,
  todo: readonly MigrationFile[],
): Promise<void> {
  const invalid = await invalidIndexes(client);
  for (const { file } of todo) {
    const over = passedOver(facts[file] ?? noFacts, invalid);
    if (over.length === 0) continue;
    throw new StepError(
      `${file} makes the index ${over.map(indexText).join(", ")} IF NOT EXISTS, but an interrupted build has left an invalid one of that name: the file would pass over it. Nothing was changed`,
      {
        hint: `${over.map((index) => `DROP INDEX CONCURRENTLY ${indexText(index)};`).join(" ")} then run the same command again`,
      },
    );
  }
}
const noFacts = { oneTransaction: false, waits: false, runsAgain: false, indexes: [], beyond: [], lines: [] };

/** Brings the schema to the version that the release needs. An equal or newer version stays. */
export async function run(request: Request, context: CommandContext): Promise<StepResult<"migrate">> {
  const started = performance.now();
  const { log, signal, env } = context;
  return withMigrationFiles(request, context, (files) =>
    withDatabase(
      { url: env["DATABASE_URL"], applicationName: `togather-migrate ${request.release.version}`.slice(0, 63), signal },
      async (client, connection) => {
        // A file that runs into its limits has to be waited for, and so do the files before it.
        await takeMigrationLock(client, {
          waitMs: request.statementTimeoutMs,
          signal,
          onWait: (message) => {
            log.info(`migrate: ${message}`);
          },
        });
        const before = await readSchemaVersion(client);
        refuseNoFiles(files, before.version, request);
        refuseUnread(files.unread, request.waivers);
        const expected = files.up.at(-1)?.version ?? null;
        // A later release's file has failed half-way: this release doesn't need it, and everything that it needs was
        // there before. Its gate checks that.
        const others = before.dirty && expected !== null && (before.version ?? 0) > expected;
        if (others)
          log.warn(
            `migrate: schema version ${before.version} is dirty: a later release's migration failed half-way. ${request.release.version} needs version ${expected}; the schema stays as it is, and somebody has to look at what is left of ${before.version}`,
          );
        else if (before.dirty) await refuseDirty(request, connection, client, files.up, before);
        const known =
          before.version === null
            ? new Set<string>()
            : await appliedFiles({ connection, version: before.version }, files.up, context, context.ask);
        const pending = pendingOf(files.up, before.version, known);
        refuseUnreachable(pending, {
          version: before.version,
          up: files.up,
          known,
          release: request.release.version,
          waivers: request.waivers ?? [],
        });
        const { todo } = pending;

        if (todo.length === 0) {
          const ahead = (before.version ?? 0) > (expected ?? 0);
          log.info(
            `migrate: ${ahead ? `the schema is ahead of ${request.release.version} (version ${before.version}, its own ${expected ?? "none"}) and stays as it is` : `schema version ${before.version ?? "none"}, nothing to do`}`,
          );
        } else {
          log.info(
            `migrate: from version ${before.version ?? "none"} to ${expected}: ${todo.map(({ file }) => file).join(", ")}`,
          );
          // A database without a version has nothing yet that a migration could harm.
          if (before.version !== null) {
            const measured = await measuredFiles(
              { database: keyOf(connection), version: before.version },
              files,
              context,
            );
            reviewFindings(
              {
                severity: request.lint,
                findings: files.findings,
                up: files.up,
                todo,
                waivers: request.waivers ?? [],
                measured,
              },
              log,
            );
          }
          await refuseInvalidIndexes(client, files, todo);
          for (const file of todo) {
            await applyFile({ request, context, client, connection, files, todo }, file);
            await noteApplied(
              { connection, version: file.version },
              { before: before.version, known, up: files.up },
              context,
            );
          }
        }
        if (todo.length > 0) await openOwnSchemas(client, log);
        if (request.river) await migrateRiver(request, context, "migrate");
        const after = await readSchemaVersion(client);
        if (todo.length === 0 && !before.dirty)
          await noteApplied(
            { connection, version: after.version },
            { before: before.version, known, up: files.up },
            context,
          );
        const applied = todo.map(({ file }) => file);
        const durationMs = Math.round(performance.now() - started);
        log.info(`migrate: schema version ${after.version ?? "none"}`, {
          applied: applied.length,
          duration_ms: durationMs,
        });
        return { from: before.version, to: after.version, expected, applied, durationMs };
      },
    ),
  );
}
