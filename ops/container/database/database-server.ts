/** The server behind DATABASE_URL, used with a role that may create and drop databases. */
import pg from "pg";
import { parseDatabaseUrl, type Connection } from "../../contract/connection.ts";
import type { StepContext } from "../../contract/context.ts";
import { messageOf, StepError } from "../../contract/errors.ts";
import { poolerProblem } from "./pooler.ts";
import { connect as connectTo, ownSchemas, withDatabase } from "./sql.ts";

export interface DatabaseServer {
  client: pg.Client;
  /** The connection of `client`. */
  connection: Connection;
  superuser: boolean;
  /** PostgreSQL's `server_version_num`, such as 170004. */
  version: number;
  createDatabases: boolean;
  /** The database that the slots use: the one in DATABASE_URL. */
  live: string;
  /** DATABASE_URL's role, which owns the objects in the live database. */
  owner: string;
  /** The owner's search path in the live database, as SQL. Undefined: the database is gone or accepts no connection. */
  searchPath: string | undefined;
  /** Whether `client` is connected to a database other than the live one. */
  apart: boolean;
}

/** The server's major version. */
export const majorOf = ({ version }: Pick<DatabaseServer, "version">): number => Math.floor(version / 10_000);

const applicationName = "togather-restore";

/**
 * Connects as DATABASE_URL's role, with the settings of role, database and URL: another role has another search path.
 */
async function ownersSearchPath({ env, signal }: Pick<StepContext, "env" | "signal">): Promise<string | undefined> {
  // The database or the role is gone, or accepts no connection: a restore mends that.
  const isGone = (error: unknown): boolean =>
    error instanceof Error &&
    error.cause instanceof Error &&
    "code" in error.cause &&
    /^(3D000|28...|42501|53300|55000)$/.test(String(error.cause.code));
  return withDatabase({ url: env["DATABASE_URL"], applicationName, signal }, async (client) => {
    const { rows } = await client.query<{ path: string | null }>(
      "SELECT string_agg(quote_ident(name), ', ') AS path FROM unnest(current_schemas(false)) AS name",
    );
    return rows[0]?.path ?? "";
  }).catch((error: unknown) => {
    if (isGone(error)) return undefined;
    throw error;
  });
}

/**
 * Connects to the live database, or to one that was or will be it, with the search path of the servers. Where that path
 * is unknown, all schemas are searched.
 */
export async function connectAsOwnerLooks(
  { connection, searchPath }: DatabaseServer,
  database: string,
  application: string,
): Promise<pg.Client> {
  const client = await connectTo({ ...connection, database }, application);
  const everywhere = `(SELECT coalesce(string_agg(quote_ident(nspname), ', ' ORDER BY nspname <> 'public', nspname), '') FROM pg_catalog.pg_namespace WHERE oid IN ${ownSchemas})`;
  try {
    await client.query(`SELECT pg_catalog.set_config('search_path', coalesce($1, ${everywhere}), false)`, [
      searchPath ?? null,
    ]);
  } catch (error) {
    await client.end().catch(() => undefined);
    throw error;
  }
  return client;
}

/**
 * Connects as DATABASE_ADMIN_URL's role, or as DATABASE_URL's where none is set. The connection is to a database other
 * than the live one, which can then be renamed: `postgres` where the URL names none.
 */
export async function withDatabaseServer<T>(
  { env, signal }: Pick<StepContext, "env" | "signal">,
  use: (server: DatabaseServer) => Promise<T>,
): Promise<T> {
  const own = parseDatabaseUrl(env["DATABASE_URL"]);
  const admin = env["DATABASE_ADMIN_URL"];
  const searchPath = await ownersSearchPath({ env, signal });
  const session = { reached: false };
  const connect = (url: string | undefined, database?: string): Promise<T> =>
    withDatabase({ url, database, applicationName, signal }, async (client, connection) => {
      const { rows } = await client.query<{ superuser: boolean; creates: boolean; version: number }>(
        "SELECT rolsuper AS superuser, rolcreatedb AS creates, current_setting('server_version_num')::int AS version FROM pg_roles WHERE rolname = current_user",
      );
      const [role] = rows;
      const pooler = await poolerProblem(client, connection, "DATABASE_ADMIN_URL");
      if (pooler !== undefined) throw new StepError(`${pooler.what}. Nothing was changed`, { hint: pooler.fix });
      session.reached = true;
      return use({
        client,
        connection,
        superuser: role?.superuser === true,
        version: role?.version ?? 0,
        createDatabases: role?.superuser === true || role?.creates === true,
        live: own.database,
        owner: own.user,
        searchPath,
        apart: connection.database !== own.database,
      });
    });
  const url = admin === undefined || admin === "" ? env["DATABASE_URL"] : admin;
  if (parseDatabaseUrl(url).database !== own.database) return connect(url);
  try {
    return await connect(url, "postgres");
  } catch (error) {
    // A role that may not connect there can still create a scratch database from its own.
    if (session.reached) throw error;
    signal.throwIfAborted();
    return connect(url);
  }
}

/**
 * The right that the role lacks to create a scratch database, and the command that grants it. Undefined: none is
 * missing.
 */
export function missingRight({
  connection,
  createDatabases,
}: DatabaseServer): { what: string; fix: string } | undefined {
  if (createDatabases) return undefined;
  return {
    what: `role ${connection.user} may not create databases (it has no CREATEDB)`,
    fix: `ALTER ROLE ${pg.escapeIdentifier(connection.user)} CREATEDB; on the database server`,
  };
}

/** Free bytes on the disk of the server's data directory. Undefined: the role is no superuser, who alone may ask. */
export async function freeSpace({ client, superuser }: DatabaseServer): Promise<number | undefined> {
  if (!superuser) return undefined;
  try {
    const { rows: settings } = await client.query<{ directory: string }>(
      "SELECT current_setting('data_directory') AS directory",
    );
    const directory = settings[0]?.directory ?? "";
    await client.query("CREATE TEMPORARY TABLE IF NOT EXISTS togather_free (line text)");
    await client.query("TRUNCATE togather_free");
    await client.query(
      `COPY togather_free FROM PROGRAM ${pg.escapeLiteral(`df --block-size=1 --output=avail '${directory.replaceAll("'", "'\\''")}'`)}`,
    );
    const { rows } = await client.query<{ line: string }>("SELECT line FROM togather_free");
    const bytes = Number(rows.at(-1)?.line.trim());
    return Number.isFinite(bytes) ? bytes : undefined;
  } catch (error) {
    // The server has no `df`, or no shell programs at all.
    void messageOf(error);
    return undefined;
  }
}
