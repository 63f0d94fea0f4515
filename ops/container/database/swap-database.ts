/** Replaces one database by another, in one transaction. */
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { DatabaseServer } from "./database-server.ts";
import { messageOf, StepError } from "../../contract/errors.ts";
import { connect } from "./sql.ts";

const id = pg.escapeIdentifier;
const terminateEveryMs = 50;

/** The name that a database gets when another one takes its place. */
export function replacedName(live: string, timestamp: string): string {
  // PostgreSQL cuts names at 63 bytes.
  return `${Buffer.from(live)
    .subarray(0, 38)
    .toString()
    .replace(/\uFFFD+$/, "")}_before_${timestamp}`;
}

/** Databases that restores have replaced and that still exist, the oldest first. */
export async function replacedDatabases({
  client,
  live,
}: DatabaseServer): Promise<{ database: string; bytes: number }[]> {
  const prefix = replacedName(live, "");
  const { rows } = await client.query<{ database: string; bytes: string }>(
    "SELECT datname AS database, pg_database_size(oid) AS bytes FROM pg_database WHERE starts_with(datname, $1) AND substr(datname, length($1) + 1) ~ '^\\d{8}_\\d{6}$' ORDER BY 1",
    [prefix],
  );
  return rows.map(({ database, bytes }) => ({ database, bytes: Number(bytes) }));
}

/** Ends all connections to a database, repeatedly, until it is told to stop. Returns the reason when it could not. */
async function keepOut(server: DatabaseServer, database: string, stop: AbortSignal): Promise<string | undefined> {
  const client = await connect(server.connection, "togather-restore");
  let problem: string | undefined;
  try {
    while (!stop.aborted) {
      await client
        .query(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()",
          [database],
        )
        .catch((error: unknown) => {
          problem = messageOf(error);
        });
      await sleep(terminateEveryMs);
    }
  } finally {
    await client.end().catch(() => undefined);
  }
  return problem;
}

/**
 * Renames the live database away and the restored one into its place. Until the commit nothing has changed. New
 * connections wait meanwhile: the rename holds a lock that each of them needs. A killed run leaves the database as it
 * was.
 * @returns the longest wait of new connections.
 */
export async function swapDatabases(
  server: DatabaseServer,
  names: { live: string; restored: string; replaced: string | undefined },
): Promise<number> {
  const { client } = server;
  const { live, restored, replaced } = names;
  const started = performance.now();
  const stop = new AbortController();
  const outside = replaced === undefined ? Promise.resolve(undefined) : keepOut(server, live, stop.signal);
  try {
    await client.query("BEGIN");
    await client.query("SET LOCAL lock_timeout = '10s'");
    // PostgreSQL itself waits up to 5 s here for the connections that are being ended.
    if (replaced !== undefined) await client.query(`ALTER DATABASE ${id(live)} RENAME TO ${id(replaced)}`);
    await client.query(`ALTER DATABASE ${id(restored)} RENAME TO ${id(live)}`);
    await client.query("COMMIT");
    return performance.now() - started;
  } catch (error) {
    await client.query("ROLLBACK").catch(() => undefined);
    stop.abort();
    const problem = await outside.catch(messageOf);
    throw new StepError(
      `the restored database could not take the place of ${live}: ${messageOf(error)}${problem === undefined ? "" : `; connections could not be ended: ${problem}`}. The live database is as it was.`,
      {
        hint: server.superuser
          ? "end what holds on to it, and run this again: SELECT * FROM pg_stat_activity"
          : `GRANT pg_signal_backend TO ${id(server.connection.user)}; and end sessions of superusers, then run this again`,
        cause: error,
      },
    );
  } finally {
    stop.abort();
    await outside.catch(() => undefined);
  }
}
