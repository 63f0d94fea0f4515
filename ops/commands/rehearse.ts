import { join } from "node:path";
import { parseDatabaseUrl, withDatabaseName } from "../connection.ts";
import type { CommandContext } from "../context.ts";
import type { StepRequest, StepResult } from "../contract.ts";
import { copyDatabaseAttributes } from "../database-attributes.ts";
import { rowsOf } from "../database-contents.ts";
import { withDatabaseServer } from "../database-server.ts";
import { StepError } from "../errors.ts";
import { writeFileAtomically } from "../files.ts";
import { withMigrationFiles } from "../golang-migrate.ts";
import { rehearse, type RehearsedFile } from "../rehearsal.ts";
import { NotAllowed, withRestored } from "../scratch-database.ts";
import { askServingRelease, silenceJobs } from "../serving-release.ts";
import { checkedSnapshot, hasExpired } from "../snapshot-file.ts";
import { manifestName } from "../snapshot-format.ts";
import { withSnapshotLock } from "../snapshots.ts";
import { connect, readSchemaVersion, withDatabase } from "../sql.ts";
import { seconds } from "../units.ts";

/** Runs a release's pending migrations on a scratch restore of the snapshot before they touch the data. */
export async function run(request: StepRequest<"rehearse">, context: CommandContext): Promise<StepResult<"rehearse">> {
  const { log, paths, env, signal } = context;
  const { file, name, serving } = request;
  const started = performance.now();
  const ended = (more: Partial<StepResult<"rehearse">>): StepResult<"rehearse"> => ({
    ...{ skipped: null, verified: false, rows: 0, tables: 0, files: [], serving: null },
    ...more,
    durationMs: Math.round(performance.now() - started),
  });
  return withMigrationFiles(request, context, (files) =>
    withSnapshotLock(context, async () => {
      const live = await withDatabase({ url: env["DATABASE_URL"], applicationName: "togather-rehearsal", signal }, (client) => readSchemaVersion(client));
      // A database without a version has nothing that a migration could harm. A dirty one is the migration's own error.
      const nothing = live.version === null ? "the database has no schema yet" : live.dirty ? "the schema is dirty" : "no migrations are pending";
      const todo = live.version === null || live.dirty ? [] : files.up.filter(({ version }) => version > (live.version ?? 0));
      if (todo.length === 0 && !request.verify) {
        log.info(`rehearsal: ${nothing}`);
        return ended({ skipped: nothing });
      }
      if (await hasExpired(request, context)) {
        log.warn(`rehearsal: ${file} has expired since it was taken; newer ones have taken its place`);
        return ended({ skipped: "the snapshot has expired since it was taken" });
      }
      const manifest = await checkedSnapshot({ ...request, foreign: false }, context);
      if (request.sha256 !== manifest.sha256) throw new StepError(`the snapshot ${file} is another one than was taken: its SHA-256 is ${manifest.sha256}, expected ${request.sha256}`);
      if (todo.length > 0 && manifest.migration_version !== live.version) {
        throw new StepError(`the schema is at version ${live.version}, the snapshot ${file} was taken at ${manifest.migration_version ?? "none"}: somebody has migrated meanwhile`, { hint: `pulumi up --replace with the URN of the snapshot's step takes another one` });
      }
      log.info(`rehearsal: ${file} is whole; restoring it into a scratch database${todo.length === 0 ? ` (${nothing})` : ""}`);
      try {
        return await withDatabaseServer(context, (server) =>
          withRestored(server, { deployment: name, manifest }, context, async ({ database, contents }) => {
            const restoredMs = Math.round(performance.now() - started);
            await writeFileAtomically(join(paths.backups, manifestName(file)), `${JSON.stringify({ ...manifest, verified_at: new Date().toISOString(), verify_duration_ms: restoredMs }, null, 2)}\n`);
            const [rows, tables] = [rowsOf(contents.tables), Object.keys(contents.tables).length];
            log.info(`rehearsal: ${file} restores: ${rows} rows in ${tables} tables, as its manifest says, in ${seconds(restoredMs)}`);
            if (todo.length === 0) return ended({ verified: true, rows, tables });
            // The roles that migrate and serve may connect to their own database; now to this one as well.
            await copyDatabaseAttributes(server, server.live, database);
            const connection = { ...parseDatabaseUrl(env["DATABASE_URL"]), database };
            const watcher = await connect({ ...server.connection, database }, "togather-rehearsal-watch");
            let done: RehearsedFile[];
            let served: string | null = null;
            try {
              done = await rehearse({ request, files, todo, connection, url: withDatabaseName(env["DATABASE_URL"] ?? "", database), watcher }, context);
              if (serving !== null) {
                await silenceJobs(watcher);
                served = await askServingRelease(serving, { name, database, migrated: todo.map((one) => one.file).join(", ") }, context);
              }
            } finally {
              await watcher.end().catch(() => undefined);
            }
            return ended({ verified: true, rows, tables, files: done, serving: served });
          }),
        );
      } catch (error) {
        if (!(error instanceof NotAllowed) || request.required) throw error;
        log.warn(`rehearsal: ${file} is whole, but was not restored, and nothing was rehearsed: ${error.message}`, { hint: error.hint });
        return ended({ skipped: error.message, rows: manifest.rows, tables: Object.keys(manifest.tables).length });
      }
    }),
  );
}
