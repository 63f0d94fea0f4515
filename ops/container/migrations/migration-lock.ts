/** Allows one migration at a time on a database, whatever program or host runs it: both slots migrate in one `up`. */
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { StepError } from "../../contract/errors.ts";

/**
 * "togather", "migr": separate from golang-migrate's own lock, which has no time limit and does not show its holder.
 */
const keys = [0x74677468, 0x6d696772] as const;
const retryMs = 200;
const progressMs = 2_000;

export interface MigrationLockOptions {
  waitMs: number;
  signal: AbortSignal;
  onWait: (message: string) => void;
}

/** Whether a migration of this database runs now, by this program or by golang-migrate alone. */
export async function isMigrating(client: pg.Client): Promise<boolean> {
  // golang-migrate's lock is a hash of the database's name: looks for any advisory lock with one 64-bit key, held by
  // any session.
  const { rows } = await client.query<{ there: boolean }>(
    `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND ((objsubid = 2 AND classid = $1 AND objid = $2) OR objsubid = 1)) AS there`,
    [...keys],
  );
  return rows[0]?.there === true;
}

async function holder(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ who: string }>(
    `SELECT format('%s (pid %s, for %s s)', coalesce(nullif(application_name, ''), 'unknown'), a.pid, extract(epoch FROM now() - backend_start)::int) AS who
       FROM pg_locks l JOIN pg_stat_activity a USING (pid)
      WHERE locktype = 'advisory' AND classid = $1 AND objid = $2 AND granted AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    [...keys],
  );
  return rows[0]?.who ?? "somebody who has just let go";
}

/**
 * Takes the lock for as long as the connection lives.
 * @throws {StepError} that names the holder, when the wait takes too long.
 */
export async function takeMigrationLock(client: pg.Client, options: MigrationLockOptions): Promise<void> {
  const started = Date.now();
  let nextProgress = 0;
  for (;;) {
    const { rows } = await client.query<{ taken: boolean }>("SELECT pg_try_advisory_lock($1, $2) AS taken", [...keys]);
    if (rows[0]?.taken === true) return;
    const waited = Date.now() - started;
    if (waited >= options.waitMs) {
      throw new StepError(
        `another migration of this database runs still after ${Math.round(waited / 1000)} s: ${await holder(client)}`,
        {
          hint: "wait for it and run this again, or end it: SELECT pg_terminate_backend(PID)",
        },
      );
    }
    if (waited >= nextProgress) {
      options.onWait(`another migration of this database runs, waiting for it: ${await holder(client)}`);
      nextProgress = waited + progressMs;
    }
    await sleep(retryMs, undefined, { signal: options.signal });
  }
}
