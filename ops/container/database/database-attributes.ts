/** Attributes of a database that no dump of its contents has: rights, settings, limits, comment. */
import pg from "pg";
import type { StepLog } from "../../contract/context.ts";
import type { DatabaseServer } from "./database-server.ts";
import { copyExtensionRights } from "./extension-tables.ts";
import { connect } from "./sql.ts";
import type { DatabaseAttributes } from "../../contract/manifest.ts";

const id = pg.escapeIdentifier;
const text = pg.escapeLiteral;

const listSettings =
  /^(search_path|temp_tablespaces|(session|local|shared)_preload_libraries|unix_socket_directories)$/i;

/**
 * The names in a setting that is a list of names, as PostgreSQL stores it: `"$user", public`. An empty one is a name as
 * well: `""`.
 */
function listed(value: string): string[] {
  return [...value.matchAll(/"((?:[^"]|"")*)"|[^\s,"]+/g)].map(
    ([bare, quoted]) => quoted?.replaceAll('""', '"') ?? bare,
  );
}

/**
 * The clause after ALTER DATABASE or ALTER ROLE.
 * @param entry `name=value`, as in pg_db_role_setting.
 */
export function settingClause(entry: string): string {
  const at = entry.indexOf("=");
  const [name, value] = [entry.slice(0, at), entry.slice(at + 1)];
  const values = listSettings.test(name) ? listed(value) : [value];
  return `SET ${name.split(".").map(id).join(".")} TO ${values.length === 0 ? "''" : values.map(text).join(", ")}`;
}

/** The attributes of a database. Undefined: there is no such database. */
export async function readDatabaseAttributes(
  client: pg.Client,
  database: string,
): Promise<DatabaseAttributes | undefined> {
  const { rows } = await client.query<Omit<DatabaseAttributes, "rights" | "settings"> & { has_acl: boolean }>(
    `SELECT pg_get_userbyid(datdba) AS owner, pg_encoding_to_char(encoding) AS encoding, to_jsonb(d) ->> 'datlocprovider' AS provider, datcollate AS collate, datctype AS ctype,
            coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') AS locale,
            to_jsonb(d) ->> 'daticurules' AS "icuRules", (SELECT spcname FROM pg_tablespace t WHERE t.oid = dattablespace) AS tablespace,
            datconnlimit AS "connectionLimit", shobj_description(oid, 'pg_database') AS comment, datacl IS NOT NULL AS has_acl
       FROM pg_database d WHERE datname = $1`,
    [database],
  );
  if (rows[0] === undefined) return undefined;
  const { has_acl: hasAcl, ...row } = rows[0];
  const { rows: rights } = await client.query<{ grantee: string | null; privilege: string; grantable: boolean }>(
    "SELECT CASE WHEN a.grantee = 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END AS grantee, a.privilege_type AS privilege, a.is_grantable AS grantable FROM pg_database d, aclexplode(d.datacl) a WHERE datname = $1",
    [database],
  );
  const { rows: settings } = await client.query<{ role: string | null; entry: string }>(
    "SELECT CASE WHEN s.setrole = 0 THEN NULL ELSE pg_get_userbyid(s.setrole) END AS role, unnest(s.setconfig) AS entry FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE datname = $1",
    [database],
  );
  return { ...row, rights: hasAcl ? rights : null, settings };
}

/** Drops the values of an application's own settings (`app.token`): they may be secrets, and no snapshot may hold them. */
export function withoutOwnSettings(attributes: DatabaseAttributes): DatabaseAttributes {
  return { ...attributes, settings: attributes.settings.filter(({ entry }) => !/^[^=]*\./.test(entry)) };
}

function statementsOf({ connectionLimit, comment, rights, settings }: DatabaseAttributes, to: string): string[] {
  const target = `DATABASE ${id(to)}`;
  return [
    `ALTER ${target} CONNECTION LIMIT ${connectionLimit}`,
    `COMMENT ON ${target} IS ${comment === null ? "NULL" : text(comment)}`,
    ...(rights === null
      ? [`GRANT CONNECT, TEMPORARY ON ${target} TO PUBLIC`]
      : rights.map(
          ({ grantee, privilege, grantable }) =>
            `GRANT ${privilege} ON ${target} TO ${grantee === null ? "PUBLIC" : id(grantee)}${grantable ? " WITH GRANT OPTION" : ""}`,
        )),
    ...settings.map(({ role, entry }) =>
      role === null
        ? `ALTER ${target} ${settingClause(entry)}`
        : `ALTER ROLE ${id(role)} IN ${target} ${settingClause(entry)}`,
    ),
  ];
}

/**
 * Applies attributes to a database, except its owner and its creation options.
 * @returns the statements that this role may not run, and those for roles that no longer exist.
 */
export async function applyDatabaseAttributes(
  { client }: DatabaseServer,
  attributes: DatabaseAttributes,
  to: string,
): Promise<string[]> {
  const left: string[] = [];
  for (const statement of statementsOf(attributes, to)) {
    await client.query(statement).catch((error: unknown) => {
      // Not allowed; no such role.
      if (!(error instanceof pg.DatabaseError) || !/^(42501|42704)$/.test(error.code ?? "")) throw error;
      left.push(statement);
    });
  }
  const now = await readDatabaseAttributes(client, to);
  if (attributes.tablespace !== undefined && now?.tablespace !== attributes.tablespace)
    left.push(`ALTER DATABASE ${id(to)} SET TABLESPACE ${id(attributes.tablespace)}`);
  return left;
}

/**
 * Gives a database to a role.
 * @returns false where the server's role lacks the right to.
 */
export async function giveDatabase({ client }: DatabaseServer, database: string, owner: string): Promise<boolean> {
  // Without the new owner's rights it could not rename the database afterwards.
  const { rows } = await client.query<{ may: boolean }>(
    "SELECT pg_has_role(oid, 'USAGE') AS may FROM pg_roles WHERE rolname = $1",
    [owner],
  );
  if (rows[0]?.may !== true) return false;
  return client.query(`ALTER DATABASE ${id(database)} OWNER TO ${id(owner)}`).then(
    () => true,
    (error: unknown) => {
      if (error instanceof pg.DatabaseError && error.code === "42501") return false;
      throw error;
    },
  );
}

/** Copies the attributes of one database to another, and warns of those that it could not copy. */
export async function copyDatabaseAttributes(
  server: DatabaseServer,
  from: string,
  to: string,
  log: StepLog,
): Promise<void> {
  const model = await readDatabaseAttributes(server.client, from);
  if (model === undefined) return;
  sayLeft(await applyDatabaseAttributes(server, model, to), server, { copy: to, named: from }, log);
  // An extension's tables belong to a superuser, who alone can grant rights on them.
  if (server.superuser) await openExtensionTables(server, from, to);
}

/** Warns which attributes a copy lacks, with the statements that add them once it has its final name. */
export function sayLeft(
  left: readonly string[],
  { connection }: DatabaseServer,
  { copy, named }: { copy: string; named: string },
  log: StepLog,
): void {
  if (left.length === 0) return;
  const statements = left.map((statement) => statement.replace(`DATABASE ${id(copy)}`, () => `DATABASE ${id(named)}`));
  log.warn(
    `restore: role ${connection.user} may not give the copy of ${named} all that ${named} has (${left.length} of its settings and rights)`,
    { hint: `as a superuser of the database: ${statements.join("; ")};` },
  );
}

async function openExtensionTables({ connection }: DatabaseServer, from: string, to: string): Promise<void> {
  const clients: pg.Client[] = [];
  const open = async (database: string): Promise<pg.Client> => {
    const client = await connect({ ...connection, database }, "togather-restore");
    clients.push(client);
    return client;
  };
  try {
    await copyExtensionRights(await open(from), await open(to));
  } finally {
    await Promise.all(clients.map((one) => one.end().catch(() => undefined)));
  }
}
