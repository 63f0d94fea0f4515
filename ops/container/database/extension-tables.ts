/**
 * Tables in which an extension expects rows of its users, such as PostGIS's spatial_ref_sys. They belong to the role
 * that made the extension: the role that migrates may only read them until it is granted more.
 */
import pg from "pg";
import { extensionTableRights } from "../../contract/extension-table-rights.ts";

/**
 * Names (as SQL) of the tables of extensions into which a role may not write.
 * @param extensions only these; default: all.
 */
export async function closedExtensionTables(
  client: pg.Client,
  role: string,
  extensions?: readonly string[],
): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT format('%I.%I', n.nspname, c.relname) AS name
       FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_class c ON c.oid = ANY (e.extconfig) JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind = 'r' AND ($2::text[] IS NULL OR e.extname = ANY ($2)) AND NOT has_table_privilege($1::name, c.oid, 'INSERT')
      ORDER BY 1`,
    [role, extensions ?? null],
  );
  return rows.map(({ name }) => name);
}

/**
 * SQL with which a superuser grants a role the right to write into them.
 * @param tables names as SQL writes them.
 */
export function grantOnTables(tables: readonly string[], role: string): string {
  return `GRANT ${extensionTableRights.join(", ")} ON ${tables.join(", ")} TO ${pg.escapeIdentifier(role)};`;
}

/**
 * The remedy for a migration that was refused because of such a table. Undefined: it was refused for another reason.
 * @param message the server's error message.
 */
async function refusedExtensionTable(
  client: pg.Client,
  { role, database, message }: { role: string; database: string; message: string },
): Promise<string | undefined> {
  const named = (await closedExtensionTables(client, role)).filter((table) =>
    message.includes(table.slice(table.indexOf(".") + 1)),
  );
  return named.length === 0
    ? undefined
    : `as a superuser of the database ${database}: ${grantOnTables(named, role)} then run the same command again`;
}

/**
 * The remedy for a migration that creates an extension which its role may not create, or which the server does not
 * have. Undefined: it failed for another reason.
 * @param message the server's error message.
 * @param bundled whether the database is the deployment's own.
 */
export function missingExtension(
  message: string,
  { database, bundled }: { database: string; bundled: boolean },
): string | undefined {
  const denied = /permission denied to create extension "(.+?)"/.exec(message)?.[1];
  const absent =
    /extension "(.+?)" is not available/.exec(message)?.[1] ??
    // Before PostgreSQL 15.
    /could not open extension control file ".*\/(.+?)\.control"/.exec(message)?.[1];
  const then = "then run the same command again";
  if (denied !== undefined)
    return bundled
      ? `add ${denied} to togather:database.extensions in the stack file: a superuser makes it before the migrations run; ${then}`
      : `as a superuser of the database ${database}: CREATE EXTENSION ${pg.escapeIdentifier(denied)}; ${then}`;
  if (absent === undefined) return undefined;
  return bundled
    ? `the bundled server doesn't have it: its package into images/postgres/Dockerfile, and ${absent} into togather:database.extensions; ${then}`
    : `have ${absent} installed on the database server, and made as a superuser of the database ${database}: CREATE EXTENSION ${pg.escapeIdentifier(absent)}; ${then}`;
}

/** The remedy for a migration that failed because of an extension. Undefined: it failed for another reason. */
export async function extensionHint(
  client: pg.Client,
  about: { role: string; database: string; message: string; bundled: boolean },
): Promise<string | undefined> {
  return (await refusedExtensionTable(client, about)) ?? missingExtension(about.message, about);
}

/** Copies the rights on extensions' tables from one database to another. A snapshot may be older than those rights. */
export async function copyExtensionRights(from: pg.Client, to: pg.Client): Promise<void> {
  const { rows } = await from.query<{ name: string; grantee: string | null; privilege: string; grantable: boolean }>(
    `SELECT format('%I.%I', n.nspname, c.relname) AS name, CASE WHEN a.grantee = 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END AS grantee, a.privilege_type AS privilege, a.is_grantable AS grantable
       FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_class c ON c.oid = ANY (e.extconfig) JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a
      WHERE c.relkind = 'r' AND a.grantee <> c.relowner`,
  );
  for (const { name, grantee, privilege, grantable } of rows) {
    const { rows: there } = await to.query<{ there: boolean }>("SELECT to_regclass($1) IS NOT NULL AS there", [name]);
    if (there[0]?.there !== true) continue;
    await to.query(
      `GRANT ${privilege} ON ${name} TO ${grantee === null ? "PUBLIC" : pg.escapeIdentifier(grantee)}${grantable ? " WITH GRANT OPTION" : ""}`,
    );
  }
}
