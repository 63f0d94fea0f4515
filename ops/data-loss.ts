/** What a database holds that a snapshot does not: lost when the snapshot takes its place. */
import type pg from "pg";
import { listTables } from "./database-contents.ts";
import type { Manifest } from "./snapshots.ts";

export interface TableLoss {
  table: string;
  /** Rows in the snapshot, and in the database now; null where there is no such table. */
  snapshot: number | null;
  now: number | null;
  /** Rows of now that were inserted or changed since; null when nobody can tell (another database, a restored one). */
  written: number | null;
}

/** Transactions since the snapshot, when the database still is the one that it was taken of. */
async function transactionsSince(client: pg.Client, manifest: Manifest): Promise<bigint | undefined> {
  const { rows } = await client.query<{ oid: number; next: string }>("SELECT oid, pg_snapshot_xmax(pg_current_snapshot())::text AS next FROM pg_database WHERE datname = current_database()");
  const [now] = rows;
  if (now === undefined || now.oid !== manifest.database_oid) return undefined;
  const since = BigInt(now.next) - BigInt(manifest.next_transaction);
  // Rows from before may look as if they were from after, half of all transaction numbers later.
  return since < 0n || since > 2n ** 31n - 1_000_000n ? undefined : since;
}

/** Tables that differ, counted row by row. Deleted rows show as fewer rows only. */
export async function dataLoss(client: pg.Client, manifest: Manifest): Promise<TableLoss[]> {
  await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  try {
    const since = await transactionsSince(client, manifest);
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
