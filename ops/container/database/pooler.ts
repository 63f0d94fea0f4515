/**
 * Detects connection poolers between this project and the database. A pooler in transaction mode leaves session locks
 * to the next client and drops session settings: a migration would wait for its own lock, and run without limits.
 */
import pg from "pg";
import type { Connection } from "../../contract/connection.ts";
import { messageOf } from "../../contract/errors.ts";
import { connect, toldProcess } from "./sql.ts";

/** A value that no real setting has. */
const probeMs = 4_321;
const applicationName = "togather-pooler";

const session = async (client: pg.Client): Promise<number> =>
  (await client.query<{ pid: number }>("SELECT pg_catalog.pg_backend_pid() AS pid")).rows[0]?.pid ?? 0;

/** Whether a pooler refused a connection because of its startup options. */
const isPoolersRefusal = (error: unknown): boolean =>
  /unsupported startup parameter|pooling mode/.test(messageOf(error));

/**
 * Whether something between client and server answers for the server. Not wrong by itself: some services have a proxy
 * that keeps whole sessions.
 */
async function isBehindSomething(client: pg.Client): Promise<boolean> {
  const told = toldProcess(client);
  return told !== null && told !== (await session(client));
}

/** The part of a session that the pooler does not keep. Undefined: it keeps everything. */
async function lostOnTheWay(client: pg.Client, connection: Connection): Promise<string | undefined> {
  const others: pg.Client[] = [];
  try {
    const options = [connection.options, `-c lock_timeout=${probeMs}`].filter((part) => part !== "").join(" ");
    const other = await connect({ ...connection, options }, applicationName);
    others.push(other);
    const mine = await session(client);
    await other.query("BEGIN");
    if ((await session(other)) === mine) return "two connections are given one session of the server in turn";
    const { rows } = await other.query<{ ms: string }>(
      "SELECT setting AS ms FROM pg_catalog.pg_settings WHERE name = 'lock_timeout'",
    );
    await other.query("ROLLBACK");
    return rows[0]?.ms === String(probeMs) ? undefined : "the limits that a connection begins with are not passed on";
  } catch (error) {
    if (isPoolersRefusal(error)) return messageOf(error);
    throw error;
  } finally {
    await Promise.all(others.map((one) => one.end().catch(() => undefined)));
  }
}

/**
 * The problem of a URL that leads to a pooler which can't be used for migrations and snapshots. Undefined: none.
 * @param client connected by the URL.
 * @param variable the variable that holds the URL.
 */
export async function poolerProblem(
  client: pg.Client,
  connection: Connection,
  variable: string,
): Promise<{ what: string; fix: string } | undefined> {
  if (!(await isBehindSomething(client))) return undefined;
  const lost = await lostOnTheWay(client, connection);
  if (lost === undefined) return undefined;
  const { host, port } = connection;
  return {
    what: `${host}:${port} is a connection pooler and no PostgreSQL server (${lost}): locks and limits of migrations, and snapshots, take a session of one's own`,
    fix: `the server's own address and port in ${variable} (often 5432 instead of 6432, or the host without -pooler); DATABASE_URL, the server's own, may stay the pooler's`,
  };
}
