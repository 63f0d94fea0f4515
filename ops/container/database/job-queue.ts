/** River's jobs in a database that takes the place of another: what was queued then, and is done since, would be done again. */
import type pg from "pg";

/** States of jobs that are still to be worked. `pending` ones wait for somebody to release them. */
const unfinished = "('available', 'retryable', 'running', 'scheduled')";

/** Whether there is a table of jobs as River has it. */
async function hasJobs(client: pg.Client): Promise<boolean> {
  const { rows } = await client.query<{ columns: string }>(
    "SELECT count(*) AS columns FROM pg_attribute WHERE attrelid = to_regclass('river_job') AND attname IN ('state', 'created_at', 'finalized_at') AND NOT attisdropped",
  );
  return rows[0]?.columns === "3";
}

/** Jobs that are still to be worked; null in a database without any table of them. */
export async function queuedJobs(client: pg.Client): Promise<number | null> {
  if (!(await hasJobs(client))) return null;
  const { rows } = await client.query<{ jobs: string }>(
    `SELECT count(*) AS jobs FROM river_job WHERE state IN ${unfinished}`,
  );
  return Number(rows[0]?.jobs);
}

/** Jobs that were there at a time and have ended since, as far as River has not removed them: it does after a day, unless told otherwise. */
export async function jobsDoneSince(client: pg.Client, time: string): Promise<number | null> {
  if (!(await hasJobs(client))) return null;
  const { rows } = await client.query<{ jobs: string }>(
    "SELECT count(*) AS jobs FROM river_job WHERE created_at <= $1 AND finalized_at > $1",
    [time],
  );
  return Number(rows[0]?.jobs);
}

/** Puts all of them on hold, for no server to work them. @returns how many. */
export async function holdJobs(client: pg.Client): Promise<number> {
  if (!(await hasJobs(client))) return 0;
  const { rowCount } = await client.query(`UPDATE river_job SET state = 'pending' WHERE state IN ${unfinished}`);
  return rowCount ?? 0;
}
