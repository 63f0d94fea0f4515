/** What belongs to a database and is in no dump of its contents: rights, settings, limits, its comment. */
import pg from "pg";
import type { DatabaseServer } from "./database-server.ts";
import { copyExtensionRights } from "./extension-tables.ts";
import { connect } from "./sql.ts";

const id = pg.escapeIdentifier;
const text = pg.escapeLiteral;

/** A setting's value in ALTER DATABASE … SET: lists such as search_path are stored as SQL has them. */
function setting(entry: string): string {
  const at = entry.indexOf("=");
  const [name, value] = [entry.slice(0, at), entry.slice(at + 1)];
  return `SET ${id(name)} TO ${/^(search_path|temp_tablespaces|session_preload_libraries|local_preload_libraries)$/i.test(name) ? value : text(value)}`;
}

/** Gives a database what another one has. */
export async function copyDatabaseAttributes(server: DatabaseServer, from: string, to: string): Promise<void> {
  const { client, superuser } = server;
  const target = `DATABASE ${id(to)}`;
  const { rows } = await client.query<{ limit: number; comment: string | null; has_acl: boolean }>(
    "SELECT datconnlimit AS limit, shobj_description(oid, 'pg_database') AS comment, datacl IS NOT NULL AS has_acl FROM pg_database WHERE datname = $1",
    [from],
  );
  const [model] = rows;
  if (model === undefined) return;
  const statements = [`ALTER ${target} CONNECTION LIMIT ${model.limit}`, `COMMENT ON ${target} IS ${model.comment === null ? "NULL" : text(model.comment)}`];
  if (model.has_acl) {
    const { rows: rights } = await client.query<{ grantee: string | null; privilege: string; grantable: boolean }>(
      "SELECT CASE WHEN a.grantee = 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END AS grantee, a.privilege_type AS privilege, a.is_grantable AS grantable FROM pg_database d, aclexplode(d.datacl) a WHERE datname = $1",
      [from],
    );
    for (const { grantee, privilege, grantable } of rights) statements.push(`GRANT ${privilege} ON ${target} TO ${grantee === null ? "PUBLIC" : id(grantee)}${grantable ? " WITH GRANT OPTION" : ""}`);
  } else {
    statements.push(`GRANT CONNECT, TEMPORARY ON ${target} TO PUBLIC`);
  }
  const { rows: settings } = await client.query<{ role: string | null; entry: string }>(
    "SELECT CASE WHEN s.setrole = 0 THEN NULL ELSE pg_get_userbyid(s.setrole) END AS role, unnest(s.setconfig) AS entry FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE datname = $1",
    [from],
  );
  // Only a superuser may set something for another role.
  for (const { role, entry } of settings) if (role === null || superuser) statements.push(role === null ? `ALTER ${target} ${setting(entry)}` : `ALTER ROLE ${id(role)} IN ${target} ${setting(entry)}`);
  for (const statement of statements) await client.query(statement);
  // An extension's tables are a superuser's, and so is what they are open to.
  if (superuser) await openExtensionTables(server, from, to);
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
