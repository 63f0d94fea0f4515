import type { StepContext } from "../context.ts";
import type { StepRequest, StepResult } from "../contract.ts";
import { dropDatabase, withDatabaseServer } from "../database-server.ts";
import { StepError } from "../errors.ts";
import { withSnapshotLock } from "../snapshots.ts";
import { replacedDatabases } from "../swap-database.ts";
import { formatBytes } from "../units.ts";

/** Lists the databases that restores have replaced, or drops one of them, and nothing else. */
export async function run({ database }: StepRequest<"discard">, context: StepContext): Promise<StepResult<"discard">> {
  return withSnapshotLock(context, () =>
    withDatabaseServer(context, async (server) => {
      const kept = await replacedDatabases(server);
      if (database === null) return { kept, dropped: null };
      const one = kept.find((entry) => entry.database === database);
      if (one === undefined) {
        throw new StepError(`${database} is no database that a restore has replaced`, {
          hint: kept.length === 0 ? "there is none" : `there are: ${kept.map((entry) => entry.database).join(", ")}`,
        });
      }
      await dropDatabase(server, database);
      context.log.success(`discard: ${database} (${formatBytes(one.bytes)}) is dropped`);
      return { kept: kept.filter((entry) => entry !== one), dropped: one.database };
    }),
  );
}
