/** Rows of a database that are lost when a snapshot takes its place. */
import type pg from "pg";
import { listTables } from "./database-contents.ts";
import { currentSnapshot, writtenSince } from "./row-visibility.ts";
import { transactionsSince } from "./same-database.ts";
import type { Manifest } from "../../contract/manifest.ts";

export interface TableLoss {
  table: string;
  /** Rows in the snapshot, and in the database now. Null: there is no such table. */
  snapshot: number | null;
  now: number | null;
  /** Rows inserted or changed since the snapshot. Null: unknown (another database, or a restored one). */
  written: number | null;
}

/** Tables with rows that would be lost, and how exact the counts are. */
export interface DataLoss {
  lost: TableLoss[];
  /**
   * `exact`: every row written since the snapshot is counted. `without-open`: rows of transactions that were open when
   * the snapshot was taken are not counted.
   */
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
