/** The server behind DATABASE_URL, through a role that may make and drop databases. */
import pg from "pg";
import { parseDatabaseUrl, type Connection } from "./connection.ts";
import type { StepContext } from "./context.ts";
import { messageOf } from "./errors.ts";
import { withDatabase } from "./sql.ts";

export interface DatabaseServer {
  client: pg.Client;
  /** Of `client`. */
  connection: Connection;
  superuser: boolean;
  createDatabases: boolean;
  /** The database that the servers use: DATABASE_URL's. */
  live: string;
  /** Whether `client` is connected to another database than that one. */
  apart: boolean;
}

const applicationName = "togather-restore";

/**
 * Connects as DATABASE_ADMIN_URL, or, where there is none, as DATABASE_URL's role to the server's own `postgres`,
 * so that the live database can be renamed.
 */
export async function withDatabaseServer<T>({ env, signal }: Pick<StepContext, "env" | "signal">, use: (server: DatabaseServer) => Promise<T>): Promise<T> {
  const own = parseDatabaseUrl(env["DATABASE_URL"]);
  const admin = env["DATABASE_ADMIN_URL"];
  const session = { reached: false };
  const connect = (url: string | undefined, database?: string): Promise<T> =>
    withDatabase({ url, database, applicationName, signal }, async (client, connection) => {
      const { rows } = await client.query<{ superuser: boolean; creates: boolean }>("SELECT rolsuper AS superuser, rolcreatedb AS creates FROM pg_roles WHERE rolname = current_user");
      const [role] = rows;
      session.reached = true;
      return use({ client, connection, superuser: role?.superuser === true, createDatabases: role?.superuser === true || role?.creates === true, live: own.database, apart: connection.database !== own.database });
    });
  if (admin !== undefined && admin !== "") return connect(admin);
  try {
    return await connect(env["DATABASE_URL"], "postgres");
  } catch (error) {
    // A role that may not connect there can still make a scratch database from its own.
    if (session.reached) throw error;
    signal.throwIfAborted();
    return connect(env["DATABASE_URL"]);
  }
}

/** What the role lacks to make a scratch database, and what gives it; undefined when nothing. */
export function missingRight({ connection, createDatabases }: DatabaseServer): { what: string; fix: string } | undefined {
  if (createDatabases) return undefined;
  return { what: `role ${connection.user} may not create databases (it has no CREATEDB)`, fix: `ALTER ROLE ${pg.escapeIdentifier(connection.user)} CREATEDB; on the database server` };
}

/** Bytes that are free where the server keeps its data. Only a superuser may ask; undefined for anybody else. */
export async function freeSpace({ client, superuser }: DatabaseServer): Promise<number | undefined> {
  if (!superuser) return undefined;
  try {
    const { rows: settings } = await client.query<{ directory: string }>("SELECT current_setting('data_directory') AS directory");
    const directory = settings[0]?.directory ?? "";
    await client.query("CREATE TEMPORARY TABLE IF NOT EXISTS togather_free (line text)");
    await client.query("TRUNCATE togather_free");
    await client.query(`COPY togather_free FROM PROGRAM ${pg.escapeLiteral(`df --block-size=1 --output=avail '${directory.replaceAll("'", "'\\''")}'`)}`);
    const { rows } = await client.query<{ line: string }>("SELECT line FROM togather_free");
    const bytes = Number(rows.at(-1)?.line.trim());
    return Number.isFinite(bytes) ? bytes : undefined;
  } catch (error) {
    // A server without `df`, or without programs of the shell at all.
    void messageOf(error);
    return undefined;
  }
}

/** `CREATE DATABASE` with encoding, locale and owner of another one. */
export async function createDatabaseLike({ client, connection, superuser }: DatabaseServer, model: string, name: string): Promise<void> {
  const { rows } = await client.query<{ owner: string; encoding: string; provider: string; collate: string | null; ctype: string | null; locale: string | null }>(
    `SELECT pg_get_userbyid(datdba) AS owner, pg_encoding_to_char(encoding) AS encoding, datlocprovider::text AS provider, datcollate AS collate, datctype AS ctype,
            coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale') AS locale
       FROM pg_database d WHERE datname = $1`,
    [model],
  );
  const like = rows[0];
  const options: string[] = ["TEMPLATE template0"];
  if (like !== undefined) {
    // Only a superuser gives away what it makes.
    options.push(`OWNER ${pg.escapeIdentifier(superuser ? like.owner : connection.user)}`, `ENCODING ${pg.escapeLiteral(like.encoding)}`);
    if (like.collate !== null) options.push(`LC_COLLATE ${pg.escapeLiteral(like.collate)}`);
    if (like.ctype !== null) options.push(`LC_CTYPE ${pg.escapeLiteral(like.ctype)}`);
    if (like.provider === "b") options.push("LOCALE_PROVIDER builtin", `BUILTIN_LOCALE ${pg.escapeLiteral(like.locale ?? "C.UTF-8")}`);
    else if (like.provider === "i") options.push("LOCALE_PROVIDER icu", `ICU_LOCALE ${pg.escapeLiteral(like.locale ?? "und")}`);
    else options.push("LOCALE_PROVIDER libc");
  }
  await client.query(`CREATE DATABASE ${pg.escapeIdentifier(name)} ${options.join(" ")}`);
  // What the application's role can read is its own database.
  await client.query(`REVOKE ALL ON DATABASE ${pg.escapeIdentifier(name)} FROM PUBLIC`);
}

/** Drops a database together with whoever is connected to it. */
export async function dropDatabase({ client }: DatabaseServer, name: string): Promise<void> {
  await client.query(`DROP DATABASE IF EXISTS ${pg.escapeIdentifier(name)} WITH (FORCE)`);
}
