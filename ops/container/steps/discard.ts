import type { StepContext } from "../../contract/context.ts";
import type { StepRequest, StepResult } from "../../contract/steps.ts";
import { withDatabaseServer } from "../database/database-server.ts";
import { dropDatabase } from "../database/make-database.ts";
import { StepError } from "../../contract/errors.ts";
import { discardedDatabases, noteDiscarded } from "../database/discarded.ts";
import { withSnapshotLock } from "../snapshots/snapshots.ts";
import { replacedDatabases } from "../database/swap-database.ts";
import { formatBytes } from "../../contract/units.ts";

/** Lists the databases that restores have replaced, or drops one of them. It drops no other database. */
export async function run({ database }: StepRequest<"discard">, context: StepContext): Promise<StepResult<"discard">> {
  return withSnapshotLock(context, () =>
    withDatabaseServer(context, async (server) => {
      const kept = await replacedDatabases(server);
      if (database === null) return { kept, dropped: null };
      const one = kept.find((entry) => entry.database === database);
      if (one === undefined && (await discardedDatabases(context)).includes(database)) {
        // An earlier run dropped it, and may have been killed before it could report that.
        context.log.warn(`discard: ${database} is not there any more: it was dropped before`);
        return { kept, dropped: null };
      }
      if (one === undefined) {
        throw new StepError(`${database} is not a database that a restore has replaced; nothing was dropped`, {
          hint: kept.length === 0 ? "there is none" : `there are: ${kept.map((entry) => entry.database).join(", ")}`,
        });
      }
      await noteDiscarded(context, database);
      await dropDatabase(server, database);
      context.log.success(`discard: ${database} (${formatBytes(one.bytes)}) is dropped`);
      return { kept: kept.filter((entry) => entry !== one), dropped: one.database };
    }),
  );
}
