/** Exact contents of a database: recorded in a snapshot's manifest, and compared after a restore. */
import pg from "pg";
import { seenAggregate } from "./row-visibility.ts";
import { readSchemaVersion, type SchemaVersion } from "./sql.ts";

export interface Contents {
  /** Rows by table, `schema.table` as SQL writes it. */
  tables: Record<string, number>;
  /** Version by extension. */
  extensions: Record<string, string>;
  migration: SchemaVersion;
}

/** Tables that hold data, each partition by itself. Tables of extensions are not listed. */
export async function listTables(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(`
    SELECT format('%I.%I', n.nspname, c.relname) AS name
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
       AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
     ORDER BY 1`);
  return rows.map(({ name }) => name);
}

/**
 * Counts every row, since estimates prove nothing.
 * @param options.snapshot the client's own snapshot: then `seen` lists transactions for `rowVisibility`.
 */
export async function readContents(
  client: pg.Client,
  { snapshot }: { snapshot?: string } = {},
): Promise<Contents & { seen: string[] }> {
  const aggregate = snapshot === undefined ? undefined : seenAggregate(snapshot);
  const seen = new Set<string>();
  const migration = await readSchemaVersion(client);
  const { rows: extensions } = await client.query<{ name: string; version: string }>(
    "SELECT extname AS name, extversion AS version FROM pg_catalog.pg_extension ORDER BY 1",
  );
  const tables: Contents["tables"] = {};
  for (const table of await listTables(client)) {
    const { rows } = await client.query<{ count: string; seen: string[] | null }>(
      `SELECT count(*), ${aggregate ?? "NULL::text[]"} AS seen FROM ONLY ${table}`,
    );
    tables[table] = Number(rows[0]?.count);
    for (const transaction of rows[0]?.seen ?? []) seen.add(transaction);
  }
  return {
    tables,
    extensions: Object.fromEntries(extensions.map(({ name, version }) => [name, version])),
    migration,
    seen: [...seen],
  };
}

/** The number of rows in all tables. */
export const rowsOf = (tables: Contents["tables"]): number =>
  Object.values(tables).reduce((sum, rows) => sum + rows, 0);

/** Differences from the expected contents, as sentences. Empty: none. Versions of extensions may differ. */
export function differences(expected: Contents, found: Contents): string[] {
  const problems: string[] = [];
  for (const table of new Set([...Object.keys(expected.tables), ...Object.keys(found.tables)])) {
    const [wanted, has] = [expected.tables[table], found.tables[table]];
    if (wanted === has) continue;
    if (has === undefined) problems.push(`table ${table} is missing (${wanted} rows)`);
    else if (wanted === undefined) problems.push(`table ${table} is there, expected none of this name`);
    else problems.push(`table ${table} has ${has} rows, expected ${wanted}`);
  }
  for (const name of Object.keys(expected.extensions))
    if (found.extensions[name] === undefined) problems.push(`extension ${name} is missing`);
  const shown = ({ version, dirty }: SchemaVersion): string => `${version ?? "none"}${dirty ? " (dirty)" : ""}`;
  if (shown(expected.migration) !== shown(found.migration))
    problems.push(`schema version is ${shown(found.migration)}, expected ${shown(expected.migration)}`);
  return problems;
}
