/**
 * Invalid indexes, left behind by an interrupted CREATE INDEX CONCURRENTLY: no query uses them, and every write pays
 * for them.
 */
import pg from "pg";
import type { FileFacts } from "../../contract/file-facts.ts";

export interface Index {
  oid: string;
  schema: string;
  table: string;
  name: string;
}

/** The index's name as SQL. */
export const indexText = ({ schema, name }: Index): string =>
  schema === "public" ? pg.escapeIdentifier(name) : `${pg.escapeIdentifier(schema)}.${pg.escapeIdentifier(name)}`;

export async function invalidIndexes(client: pg.Client): Promise<Index[]> {
  const { rows } = await client.query<Index>(
    `SELECT i.oid::text, n.nspname AS schema, t.relname AS table, i.relname AS name
       FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_namespace n ON n.oid = i.relnamespace JOIN pg_class t ON t.oid = x.indrelid
      WHERE NOT x.indisvalid AND i.relkind = 'i' ORDER BY 2, 4`,
  );
  return rows;
}

/** Whether a file creates this index, judged by its statements. */
function makes({ indexes }: FileFacts, { schema, table, name }: Index): boolean {
  return indexes.some(
    (index) =>
      (index.name === null ? index.table === table : index.name === name) &&
      (index.schema === null || index.schema === schema),
  );
}

/** REINDEX CONCURRENTLY builds a new index under such a name, and then swaps. */
const ofReindex = /_cc(new|old)\d*$/;

/**
 * Invalid indexes that a failed file has left: they were not there before, and the file creates them, or rebuilds some.
 */
export function leftBehind(facts: FileFacts, before: readonly Index[], now: readonly Index[]): Index[] {
  const known = new Set(before.map(({ oid }) => oid));
  return now.filter(
    (index) =>
      !known.has(index.oid) && (makes(facts, index) || (facts.indexes.length === 0 && ofReindex.test(index.name))),
  );
}

/** Invalid indexes that a file would mistake for its own: IF NOT EXISTS compares names only. */
export function passedOver(facts: FileFacts, invalid: readonly Index[]): Index[] {
  return invalid.filter((index) =>
    makes({ ...facts, indexes: facts.indexes.filter(({ name, ifNotExists }) => ifNotExists && name !== null) }, index),
  );
}

/** Waits for sessions that use an index, as long as a statement may run. */
export async function dropIndexes(client: pg.Client, indexes: readonly Index[], timeoutMs: number): Promise<void> {
  await client.query(`SET statement_timeout = ${timeoutMs}`);
  try {
    for (const index of indexes) await client.query(`DROP INDEX CONCURRENTLY IF EXISTS ${indexText(index)}`);
  } finally {
    await client.query("SET statement_timeout = 0");
  }
}
