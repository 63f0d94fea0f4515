/**
 * Additions to a database restored from a dump without owners, after which it is as if this deployment's own migrations
 * had made it.
 */
import pg from "pg";
import type { StepContext } from "../../contract/context.ts";
import type { DatabaseServer } from "./database-server.ts";
import { StepError } from "../../contract/errors.ts";
import type { Manifest } from "../../contract/manifest.ts";
import { connect } from "./sql.ts";

const id = pg.escapeIdentifier;
const kinds: Readonly<Record<string, string>> = { r: "TABLES", S: "SEQUENCES", f: "FUNCTIONS", T: "TYPES" };

async function inDatabase<T>(
  server: DatabaseServer,
  database: string,
  use: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = await connect({ ...server.connection, database }, "togather-restore");
  try {
    return await use(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/**
 * @throws {StepError} where the live database, whose owner and rights are taken over, does not exist, or the server
 * lacks an extension.
 */
export async function checkForeign(
  { client, live }: DatabaseServer,
  { file, extensions }: Pick<Manifest, "file" | "extensions">,
): Promise<void> {
  const { rows } = await client.query<{ there: boolean; missing: string[] }>(
    `SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = $1) AS there,
            ARRAY(SELECT name FROM unnest($2::text[]) AS name WHERE name NOT IN (SELECT name FROM pg_catalog.pg_available_extensions)) AS missing`,
    [live, Object.keys(extensions)],
  );
  const { there = false, missing = [] } = rows[0] ?? {};
  if (!there)
    throw new StepError(
      `the snapshot ${file} has no owners, and there is no database ${live} whose owner and rights it could get`,
      { hint: "togather up makes it; then run this again" },
    );
  if (missing.length > 0)
    throw new StepError(
      `the database server has no extension ${missing.join(", ")}, which the snapshot ${file} needs`,
      { hint: `DROP EXTENSION ${missing.map(id).join(", ")}; in the old database, if nothing uses it there` },
    );
}

/**
 * Copies the live database's default rights to a new, empty database: the server's role can then use everything that
 * the owner creates there. Rights in schemas that do not exist yet are left out, with a warning.
 */
export async function copyDefaultRights(
  server: DatabaseServer,
  database: string,
  { log }: Pick<StepContext, "log">,
): Promise<void> {
  const { live } = server;
  const rights = await inDatabase(server, live, async (client) => {
    const { rows } = await client.query<{
      owner: string;
      schema: string | null;
      kind: string;
      grantee: string | null;
      privilege: string;
      grantable: boolean;
    }>(
      `SELECT pg_get_userbyid(d.defaclrole) AS owner, n.nspname AS schema, d.defaclobjtype AS kind, a.privilege_type AS privilege, a.is_grantable AS grantable,
              CASE WHEN a.grantee = 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END AS grantee
         FROM pg_catalog.pg_default_acl d LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace, aclexplode(d.defaclacl) a
        WHERE a.grantee <> d.defaclrole`,
    );
    return rows;
  });
  await inDatabase(server, database, async (client) => {
    const { rows } = await client.query<{ name: string }>("SELECT nspname AS name FROM pg_catalog.pg_namespace");
    const there = new Set(rows.map(({ name }) => name));
    for (const { owner, schema, kind, grantee, privilege, grantable } of rights) {
      const on = kinds[kind];
      if (on === undefined || (schema !== null && !there.has(schema))) {
        log.warn(
          `restore: default rights of ${live}${schema === null ? "" : ` in the schema ${schema}`} are not taken over`,
        );
        continue;
      }
      const where = schema === null ? "" : ` IN SCHEMA ${id(schema)}`;
      await client.query(
        `ALTER DEFAULT PRIVILEGES FOR ROLE ${id(owner)}${where} GRANT ${privilege} ON ${on} TO ${grantee === null ? "PUBLIC" : id(grantee)}${grantable ? " WITH GRANT OPTION" : ""}`,
      );
    }
  });
}

/** Creates the live database's extensions that another database lacks. */
export async function addExtensions(server: DatabaseServer, database: string): Promise<void> {
  const names = await inDatabase(
    server,
    server.live,
    async (client) =>
      (await client.query<{ name: string }>("SELECT extname AS name FROM pg_catalog.pg_extension ORDER BY oid")).rows,
  );
  await inDatabase(server, database, async (client) => {
    for (const { name } of names) await client.query(`CREATE EXTENSION IF NOT EXISTS ${id(name)} CASCADE`);
  });
}
