import type { StepContext } from "../../contract/context.ts";
import type { StepRequest, StepResult } from "../../contract/steps.ts";
import { rowsOf } from "../database/database-contents.ts";
import { withDatabaseServer } from "../database/database-server.ts";
import { NotAllowed, withRestored } from "../database/scratch-database.ts";
import { asTaken, checkedSnapshot, hasExpired } from "../snapshots/snapshot-file.ts";
import { noteVerified, withSnapshotLock } from "../snapshots/snapshots.ts";
import { seconds } from "../../contract/units.ts";

/** Proves a snapshot by restoring it into a scratch database on the same server, and records that in its manifest. */
export async function run(request: StepRequest<"verify">, context: StepContext): Promise<StepResult<"verify">> {
  const { log, paths } = context;
  const { file, name } = request;
  return withSnapshotLock(context, async () => {
    const started = performance.now();
    if (await hasExpired(request, context)) {
      log.warn(`verify: ${file} has expired since it was taken; newer ones have taken its place`);
      return { verified: false, reason: "it has expired since it was taken", rows: 0, tables: 0, durationMs: 0 };
    }
    const manifest = await checkedSnapshot(request, context);
    if (request.sha256 !== null) asTaken(manifest, { file, sha256: request.sha256 });
    log.info(`verify: ${file} is whole; restoring it into a scratch database`);
    try {
      const contents = await withDatabaseServer(context, (server) =>
        withRestored(server, { deployment: name, manifest }, context, ({ contents }) => Promise.resolve(contents)),
      );
      const durationMs = Math.round(performance.now() - started);
      await noteVerified(paths.backups, manifest, durationMs);
      const [rows, tables] = [rowsOf(contents.tables), Object.keys(contents.tables).length];
      log.info(
        `verify: ${file} restores: ${rows} rows in ${tables} tables, schema version ${contents.migration.version ?? "none"}, as its manifest says, in ${seconds(durationMs)}`,
      );
      return { verified: true, reason: null, rows, tables, durationMs };
    } catch (error) {
      if (!(error instanceof NotAllowed) || request.required) throw error;
      log.warn(`verify: ${file} is whole, but not proved by a restore: ${error.message}`, { hint: error.hint });
      return {
        verified: false,
        reason: error.message,
        rows: manifest.rows,
        tables: Object.keys(manifest.tables).length,
        durationMs: Math.round(performance.now() - started),
      };
    }
  });
}
