/** What a database holds that a snapshot does not: lost when the snapshot takes its place. */
import type pg from "pg";
import { listTables } from "./database-contents.ts";
import { transactionsSince } from "./same-database.ts";
import type { Manifest } from "./snapshots.ts";

export interface TableLoss {
  table: string;
  /** Rows in the snapshot, and in the database now; null where there is no such table. */
  snapshot: number | null;
  now: number | null;
  /** Rows of now that were inserted or changed since; null when nobody can tell (another database, a restored one). */
  written: number | null;
}

/** Half of all transaction numbers later, rows from before look as if they were from after. */
const mostTransactions = 2n ** 31n - 1_000_000n;

/** Tables that differ, counted row by row. Deleted rows show as fewer rows only. */
export async function dataLoss(client: pg.Client, manifest: Manifest): Promise<TableLoss[]> {
  await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  try {
    const transactions = await transactionsSince(client, manifest);
    const since = transactions !== undefined && transactions <= mostTransactions ? transactions : undefined;
    const now = new Map<string, { rows: number; written: number | null }>();
    for (const table of await listTables(client)) {
      const written = since === undefined ? "NULL" : `count(*) FILTER (WHERE age(xmin) <= ${since})`;
      const { rows } = await client.query<{ rows: string; written: string | null }>(`SELECT count(*) AS rows, ${written} AS written FROM ONLY ${table}`);
      const changed = rows[0]?.written ?? null;
      now.set(table, { rows: Number(rows[0]?.rows), written: changed === null ? null : Number(changed) });
    }
    return [...new Set([...Object.keys(manifest.tables), ...now.keys()])].sort().flatMap((table) => {
      const held = manifest.tables[table] ?? null;
      const found = now.get(table);
      const same = found !== undefined && found.rows === held && (found.written === 0 || found.written === null);
      return same ? [] : [{ table, snapshot: held, now: found?.rows ?? null, written: found?.written ?? null }];
    });
  } finally {
    await client.query("ROLLBACK").catch(() => undefined);
  }
}
