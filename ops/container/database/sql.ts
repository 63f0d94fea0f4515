/** Short questions to the database. */
import { isContainerHost } from "../../contract/names.ts";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { clientConfig, parseDatabaseUrl, type Connection } from "../../contract/connection.ts";
import { messageOf, StepError } from "../../contract/errors.ts";

/** The server process (backend pid) of a connection. node's pg keeps it, but its types don't declare it. */
export function toldProcess(client: pg.Client): number | null {
  return (client as unknown as { processID?: number | null }).processID ?? null;
}

/** Connects. With sslmode=prefer, a server without TLS is accepted. */
export async function connect(connection: Connection, applicationName: string): Promise<pg.Client> {
  const config = clientConfig(connection, applicationName);
  const open = async (over: pg.ClientConfig): Promise<pg.Client> => {
    const client = new pg.Client(over);
    // A connection that the server ends fails the next query. Without a listener the event would end the process.
    client.on("error", () => undefined);
    try {
      await client.connect();
      // The server must not end the session or a statement by its own limits: creating, counting and analyzing a
      // database takes time. Settings are looked up first, since older servers lack some. A step sets its own limits.
      // Not behind a pooler, which would give the same session to the next client.
      await client.query(
        `SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings
          WHERE name IN ('idle_session_timeout', 'idle_in_transaction_session_timeout', 'statement_timeout', 'transaction_timeout')
            AND pg_catalog.pg_backend_pid() = coalesce($1::int, pg_catalog.pg_backend_pid())`,
        [toldProcess(client)],
      );
    } catch (error) {
      void client.end().catch(() => undefined);
      throw error;
    }
    return client;
  };
  try {
    return await open(config);
  } catch (error) {
    if (connection.sslMode === "prefer" && messageOf(error).includes("does not support SSL"))
      return open({ ...config, ssl: false });
    throw error;
  }
}

/** SQLSTATE classes and socket errors that are temporary: a server or a network that is starting. */
function passes(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return /^(57P03|08...|ECONNREFUSED|ECONNRESET|EAI_AGAIN|ENOTFOUND|ETIMEDOUT|EHOSTUNREACH)$/.test(code);
}

export function describeDatabase({ user, host, port, database }: Connection): string {
  return `database ${database} at ${host}:${port} as ${user}`;
}

/** Hint for a failed connection. */
function connectionHint({ host }: Connection, error: unknown, variable: string): string {
  if (isContainerHost(host)) return `docker logs ${host}`;
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (/^(ENOTFOUND|EAI_AGAIN)$/.test(code))
    return `check the host in ${variable}; where it is a container, set togather:database.network to its Docker network`;
  // Poolers refuse `options` of the URL.
  if (/unsupported startup parameter/.test(messageOf(error)))
    return `it is a connection pooler: the server's own address and port in ${variable} (often 5432 instead of 6432, or the host without -pooler)`;
  if (code === "53300")
    return "all connections that it may have are in use: SELECT usename, application_name, count(*) FROM pg_stat_activity GROUP BY 1, 2 ORDER BY 3 DESC; then raise max_connections, or the CONNECTION LIMIT of the role or the database";
  if (/^(28...|3D000)$/.test(code)) return `check the role, its password and the database in ${variable}`;
  return `check ${variable}, and that the database listens on an address that containers on the Docker host reach`;
}

/**
 * Runs with a connection to DATABASE_URL, or to another database of its server, and closes it. Waits up to ten seconds
 * for a server that is starting.
 */
export async function withDatabase<T>(
  options: {
    url: string | undefined;
    variable?: string;
    applicationName: string;
    signal: AbortSignal;
    database?: string | undefined;
  },
  use: (client: pg.Client, connection: Connection) => Promise<T>,
): Promise<T> {
  const parsed = parseDatabaseUrl(options.url, options.variable);
  const connection = { ...parsed, database: options.database ?? parsed.database };
  const deadline = Date.now() + 10_000;
  let client: pg.Client;
  for (;;) {
    try {
      client = await connect(connection, options.applicationName);
      break;
    } catch (error) {
      options.signal.throwIfAborted();
      if (!passes(error) || Date.now() > deadline) {
        throw new StepError(
          `no connection to the ${describeDatabase(connection)}: ${messageOf(error) || String(error)}`,
          {
            hint: connectionHint(connection, error, options.variable ?? "DATABASE_URL"),
            cause: error,
          },
        );
      }
      await sleep(250, undefined, { signal: options.signal });
    }
  }
  try {
    return await use(client, connection);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Schemas that are not PostgreSQL's own, as a subquery for `relnamespace IN`. */
export const ownSchemas =
  "(SELECT oid FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema')";

/** Content of golang-migrate's table. Null: no migration was ever applied. */
export interface SchemaVersion {
  version: number | null;
  dirty: boolean;
}

export async function readSchemaVersion(client: pg.Client): Promise<SchemaVersion> {
  // Checked first: in a transaction, a query of a missing table would abort the transaction.
  const { rows: tables } = await client.query<{ there: boolean }>(
    "SELECT to_regclass('schema_migrations') IS NOT NULL AS there",
  );
  if (tables[0]?.there !== true) return { version: null, dirty: false };
  const { rows } = await client.query<{ version: string; dirty: boolean }>(
    "SELECT version, dirty FROM schema_migrations LIMIT 1",
  );
  const row = rows[0];
  return row === undefined ? { version: null, dirty: false } : { version: Number(row.version), dirty: row.dirty };
}
