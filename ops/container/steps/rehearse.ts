import { backupProblem } from "../snapshots/backup-check.ts";
import { appliedFiles, keyOf } from "../migrations/applied-migrations.ts";
import { pendingOf, refuseUnreachable, refuseUnread } from "../../contract/pending-migrations.ts";
import { parseDatabaseUrl, withDatabaseName, type Connection } from "../../contract/connection.ts";
import type { CommandContext } from "../../contract/context.ts";
import type { StepRequest, StepResult, Task } from "../../contract/steps.ts";
import { copyDatabaseAttributes } from "../database/database-attributes.ts";
import { rowsOf } from "../database/database-contents.ts";
import { connectAsOwnerLooks, withDatabaseServer, type DatabaseServer } from "../database/database-server.ts";
import { StepError } from "../../contract/errors.ts";
import { refuseNoFiles, withMigrationFiles, type MigrationFiles } from "../migrations/golang-migrate.ts";
import type { MigrationFile } from "../../contract/migrations.ts";
import { rehearse } from "../migrations/rehearsal.ts";
import { noteRehearsed, type Rehearsed } from "../migrations/rehearsed.ts";
import { NotAllowed, withRestored, type Restored } from "../database/scratch-database.ts";
import { askServingRelease, silenceJobs } from "../release/serving-release.ts";
import { asTaken, checkedSnapshot, hasExpired } from "../snapshots/snapshot-file.ts";
import { noteVerified, withSnapshotLock } from "../snapshots/snapshots.ts";
import { readSchemaVersion, withDatabase } from "../database/sql.ts";
import { runTask, taskError } from "../release/tasks.ts";
import { seconds } from "../../contract/units.ts";

/** Runs the files on the scratch database, and asks whether the release that serves works on the result. */
async function tryOut(
  request: StepRequest<"rehearse">,
  { files, todo, of }: { files: MigrationFiles; todo: readonly MigrationFile[]; of: Rehearsed },
  { server, database, needsSearchPath }: Pick<Restored, "database" | "needsSearchPath"> & { server: DatabaseServer },
  context: CommandContext,
): Promise<Pick<StepResult<"rehearse">, "files" | "serving">> {
  const { name, serving, tasks } = request;
  const { env } = context;
  // The roles that migrate and serve may connect to their own database; now also to this one.
  await copyDatabaseAttributes(server, server.live, database, context.log);
  const connection = { ...parseDatabaseUrl(env["DATABASE_URL"]), database };
  const watcher = await connectAsOwnerLooks(server, database, "togather-rehearsal-watch");
  try {
    const { rehearsed, measured } = await rehearse(
      { request, files, todo, connection, url: withDatabaseName(env["DATABASE_URL"] ?? "", database), watcher },
      context,
    );
    if (todo.length > 0) await noteRehearsed(of, measured, files, context);
    if (todo.length > 0) await checkBackups(request, { server, connection, needsSearchPath }, context);
    if (tasks !== undefined) {
      // A task may run jobs, or add some.
      await silenceJobs(watcher);
      await rehearseTasks(tasks.list, database, context);
    }
    if (serving === null || todo.length === 0) return { files: rehearsed, serving: null };
    await silenceJobs(watcher);
    return {
      files: rehearsed,
      serving: await askServingRelease(
        serving,
        { name, database, migrated: todo.map((one) => one.file).join(", ") },
        context,
      ),
    };
  } finally {
    await watcher.end().catch(() => undefined);
  }
}

/**
 * Checks that the migrated copy can be backed up. A problem from before the migrations does not stop the release, which
 * may be about to mend it.
 * @throws {StepError} where rehearsals are required and these migrations are to blame.
 */
async function checkBackups(
  { name, required }: StepRequest<"rehearse">,
  { server, connection, needsSearchPath }: { server: DatabaseServer; connection: Connection; needsSearchPath: boolean },
  context: CommandContext,
): Promise<void> {
  const problem = await backupProblem({ server, connection, deployment: name }, context);
  if (problem === undefined) return;
  if (!required || needsSearchPath) {
    context.log.warn(`rehearsal: ${problem.message}`, { hint: problem.hint });
    return;
  }
  throw new StepError(`${problem.message}. Nothing was touched; what serves goes on`, {
    hint: `${problem.hint === undefined ? "" : `${problem.hint}. `}Where the migrations are not yours: togather:deployment database.migration_rehearsal when-possible makes it a warning`,
  });
}

/** @throws {StepError} where golang-migrate would skip one of them. */
async function pendingFiles(
  { release, waivers = [] }: StepRequest<"rehearse">,
  { up }: MigrationFiles,
  database: { connection: Connection; version: number },
  context: CommandContext,
): Promise<MigrationFile[]> {
  const known = await appliedFiles(database, up, context, context.ask);
  const pending = pendingOf(up, database.version, known);
  refuseUnreachable(pending, { version: database.version, up, known, release: release.version, waivers });
  return pending.todo;
}

/**
 * Runs tasks on the scratch database.
 * @throws {StepError} for the first failure, even of a task whose failure after a switch would only be a warning: it is
 * known in time.
 */
async function rehearseTasks(tasks: readonly Task[], database: string, context: CommandContext): Promise<void> {
  for (const task of tasks) {
    const end = await runTask(task, { database }, context);
    if (end.problem !== undefined) {
      const { message } = taskError(
        task.name,
        end,
        ", on a copy of the data; the database itself was not touched, and what serves goes on",
      );
      throw new StepError(message, {
        hint: "togather:source.tasks has it, and says by rehearse: true that it is rehearsed",
      });
    }
    context.log.info(`rehearsal: the task ${task.name} takes ${seconds(end.durationMs)} on a copy of the data`);
  }
}

/** Runs a release's pending migrations on a scratch restore of the snapshot, before they touch the live data. */
export async function run(request: StepRequest<"rehearse">, context: CommandContext): Promise<StepResult<"rehearse">> {
  const { log, paths, env, signal } = context;
  const { file, name } = request;
  const started = performance.now();
  const ended = (more: Partial<StepResult<"rehearse">>): StepResult<"rehearse"> => ({
    ...{ skipped: null, verified: false, rows: 0, tables: 0, files: [], serving: null },
    ...more,
    durationMs: Math.round(performance.now() - started),
  });
  return withMigrationFiles(request, context, (files) =>
    withSnapshotLock(context, async () => {
      const { live, connection } = await withDatabase(
        { url: env["DATABASE_URL"], applicationName: "togather-rehearsal", signal },
        async (client, opened) => ({ live: await readSchemaVersion(client), connection: opened }),
      );
      // A database without a version has nothing that a migration could harm. A dirty version is reported by the
      // migration itself.
      refuseNoFiles(files, live.version, request);
      refuseUnread(files.unread, request.waivers);
      const of = { database: keyOf(connection), version: live.version ?? 0 };
      const nothing =
        live.version === null
          ? "the database has no schema yet"
          : live.dirty
            ? "the schema is dirty"
            : "no migrations are pending";
      const todo =
        live.version === null || live.dirty
          ? []
          : await pendingFiles(request, files, { connection, version: live.version }, context);
      // Nor is there anything for a task to work on.
      const tasks = live.version === null || live.dirty ? undefined : request.tasks;
      if (todo.length === 0 && !request.verify) {
        log.info(`rehearsal: ${nothing}`);
        return ended({ skipped: nothing });
      }
      if (await hasExpired(request, context)) {
        log.warn(`rehearsal: ${file} has expired since it was taken; newer ones have taken its place`);
        return ended({ skipped: "the snapshot has expired since it was taken" });
      }
      const manifest = asTaken(await checkedSnapshot({ ...request, foreign: false }, context), request);
      if (todo.length > 0 && manifest.migration_version !== live.version) {
        throw new StepError(
          `the schema is at version ${live.version}, the snapshot ${file} was taken at ${manifest.migration_version ?? "none"}: somebody has migrated meanwhile`,
          { hint: `pulumi up --replace with the URN of the snapshot's step takes another one` },
        );
      }
      log.info(
        `rehearsal: ${file} is whole; restoring it into a scratch database${todo.length === 0 ? ` (${nothing})` : ""}`,
      );
      try {
        return await withDatabaseServer(context, (server) =>
          withRestored(
            server,
            { deployment: name, manifest },
            context,
            async ({ database, contents, needsSearchPath }) => {
              const restoredMs = Math.round(performance.now() - started);
              await noteVerified(paths.backups, manifest, restoredMs);
              const [rows, tables] = [rowsOf(contents.tables), Object.keys(contents.tables).length];
              log.info(
                `rehearsal: ${file} restores: ${rows} rows in ${tables} tables, as its manifest says, in ${seconds(restoredMs)}`,
              );
              return ended({
                verified: true,
                rows,
                tables,
                ...(todo.length === 0 && tasks === undefined
                  ? {}
                  : await tryOut(
                      { ...request, tasks },
                      { files, todo, of },
                      { server, database, needsSearchPath },
                      context,
                    )),
              });
            },
          ),
        );
      } catch (error) {
        if (!(error instanceof NotAllowed) || request.required) throw error;
        log.warn(`rehearsal: ${file} is whole, but was not restored, and nothing was rehearsed: ${error.message}`, {
          hint: error.hint,
        });
        return ended({ skipped: error.message, rows: manifest.rows, tables: Object.keys(manifest.tables).length });
      }
    }),
  );
}
