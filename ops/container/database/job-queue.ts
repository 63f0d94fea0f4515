/**
 * River's jobs in a restored database: a job that was queued at the time of the snapshot, and has run since, would run
 * again.
 */
import type pg from "pg";

/** States of jobs that are still to run. `pending` jobs wait until somebody releases them. */
const unfinished = "('available', 'retryable', 'running', 'scheduled')";

/** Whether there is a table of River's jobs. */
async function hasJobs(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query<{ columns: string }>(
    "SELECT count(*) AS columns FROM pg_attribute WHERE attrelid = to_regclass('river_job') AND attname IN ('state', 'created_at', 'finalized_at') AND NOT attisdropped",
  );
  return rows[0]?.columns === "3";
}

/** The number of jobs that are still to run. Null: the database has no table of jobs. */
export async function queuedJobs(client: pg.Client): Promise<number | null> {
  if (!(await hasJobs(client))) return null;
  const { rows } = await client.query<{ jobs: string }>(
    `SELECT count(*) AS jobs FROM river_job WHERE state IN ${unfinished}`,
  );
  return Number(rows[0]?.jobs);
}

/**
 * The number of jobs that existed at a time and have ended since, as far as River still has them: it removes them after
 * a day by default.
 */
export async function jobsDoneSince(client: pg.Client, time: string): Promise<number | null> {
  if (!(await hasJobs(client))) return null;
  const { rows } = await client.query<{ jobs: string }>(
    "SELECT count(*) AS jobs FROM river_job WHERE created_at <= $1 AND finalized_at > $1",
    [time],
  );
  return Number(rows[0]?.jobs);
}

/**
 * Puts all jobs on hold: no server runs them.
 * @returns their number.
 */
export async function holdJobs(client: pg.Client): Promise<number> {
  if (!(await hasJobs(client))) return 0;
  const { rowCount } = await client.query(`UPDATE river_job SET state = 'pending' WHERE state IN ${unfinished}`);
  return rowCount ?? 0;
}
