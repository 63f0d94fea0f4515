/** The server behind DATABASE_URL, through a role that may make and drop databases. */
import pg from "pg";
import { parseDatabaseUrl, type Connection } from "../../contract/connection.ts";
import type { StepContext } from "../../contract/context.ts";
import { messageOf, StepError } from "../../contract/errors.ts";
import { poolerProblem } from "./pooler.ts";
import { connect as connectTo, ownSchemas, withDatabase } from "./sql.ts";

export interface DatabaseServer {
  client: pg.Client;
  /** Of `client`. */
  connection: Connection;
  superuser: boolean;
  /** As `server_version_num` has it: 170004. */
  version: number;
  createDatabases: boolean;
  /** The database that the servers use: DATABASE_URL's. */
  live: string;
  /** DATABASE_URL's role, which owns what is in it. */
  owner: string;
  /** Where the owner's role looks for tables in the live database, as SQL has it; undefined where that database is gone or lets it in no more. */
  searchPath: string | undefined;
  /** Whether `client` is connected to another database than that one. */
  apart: boolean;
}

/** The server's major version. */
export const majorOf = ({ version }: Pick<DatabaseServer, "version">): number => Math.floor(version / 10_000);

const applicationName = "togather-restore";

/** As DATABASE_URL's role, with the settings of role, database and URL: another role has others. */
async function ownersSearchPath({ env, signal }: Pick<StepContext, "env" | "signal">): Promise<string | undefined> {
  // The database or the role is gone, or lets nobody in: a restore is what mends that.
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
 * Connects to a database of the server, the live one or one that was or will be it, and looks for tables where the servers do.
 * Where nobody knows that any more, in all schemas.
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
 * Connects as DATABASE_ADMIN_URL's role, or, where there is none, as DATABASE_URL's: to another database than the live one, so that that can
 * be renamed; to the server's own `postgres` where the URL names none.
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
    // A role that may not connect there can still make a scratch database from its own.
    if (session.reached) throw error;
    signal.throwIfAborted();
    return connect(url);
  }
}

/** What the role lacks to make a scratch database, and what gives it; undefined when nothing. */
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

/** Bytes that are free where the server keeps its data. Only a superuser may ask; undefined for anybody else. */
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
    // A server without `df`, or without programs of the shell at all.
    void messageOf(error);
    return undefined;
  }
}
