/** What a database holds that a snapshot does not: lost when the snapshot takes its place. */
import type pg from "pg";
import { listTables } from "./database-contents.ts";
import { currentSnapshot, writtenSince } from "./row-visibility.ts";
import { transactionsSince } from "./same-database.ts";
import type { Manifest } from "../../contract/manifest.ts";

export interface TableLoss {
  table: string;
  /** Rows in the snapshot, and in the database now; null where there is no such table. */
  snapshot: number | null;
  now: number | null;
  /** Rows of now that were inserted or changed since; null when nobody can tell (another database, a restored one). */
  written: number | null;
}

/** What is lost, and whether that is all of it. */
export interface DataLoss {
  lost: TableLoss[];
  /** `exact`: every row that was written since is counted. `without-open`: not those of transactions that were open when the snapshot was taken. */
  counted: "exact" | "without-open" | "rows-only";
}

/** Tables that differ, counted row by row. Deleted rows show as fewer rows only. */
export async function dataLoss(client: pg.Client, manifest: Manifest): Promise<DataLoss> {
  await client.query("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
  try {
    const isSame = (await transactionsSince(client, manifest)) !== undefined;
    const { visibility, next_transaction: next } = manifest;
    const since = isSame
      ? writtenSince(visibility ?? { snapshot: `${next}:${next}:` }, await currentSnapshot(client))
      : undefined;
    const now = new Map<string, { rows: number; written: number | null }>();
    for (const table of await listTables(client)) {
      const written = since === undefined ? "NULL" : `count(*) FILTER (WHERE ${since})`;
      const { rows } = await client.query<{ rows: string; written: string | null }>(
        `SELECT count(*) AS rows, ${written} AS written FROM ONLY ${table}`,
      );
      const changed = rows[0]?.written ?? null;
      now.set(table, { rows: Number(rows[0]?.rows), written: changed === null ? null : Number(changed) });
    }
    const lost = [...new Set([...Object.keys(manifest.tables), ...now.keys()])].sort().flatMap((table) => {
      const held = manifest.tables[table] ?? null;
      const found = now.get(table);
      const same = found !== undefined && found.rows === held && (found.written === 0 || found.written === null);
      return same ? [] : [{ table, snapshot: held, now: found?.rows ?? null, written: found?.written ?? null }];
    });
    return { lost, counted: since === undefined ? "rows-only" : visibility === undefined ? "without-open" : "exact" };
  } finally {
    await client.query("ROLLBACK").catch(() => undefined);
  }
}
