/**
 * Observes, from another session, which tables a migration locks and for how long: the server that goes on serving has
 * to wait for them.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { ownSchemas } from "../database/sql.ts";

/** Pause between two looks, in ms. A shorter lock disturbs nobody. */
const lookMs = 5;

/**
 * Lock modes that block ordinary reads or writes, the weakest first. See PostgreSQL's table of conflicting lock modes.
 */
const blockingModes = ["ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"];

/** A lock that others had to wait for. */
export interface TableLock {
  table: string;
  /** The strongest mode that was seen. */
  mode: string;
  /** From the first look that saw it to the last, in ms. */
  heldMs: number;
}

/** The statements that wait for a lock of this mode. */
export const waiting = (mode: string): string =>
  mode === "AccessExclusiveLock" ? "reads and writes wait" : "writes wait";

interface Seen {
  mode: string;
  first: number;
  last: number;
}

/**
 * Watches the locks of sessions with an application name while `work` runs.
 * @param client connected to the same database, and used by nobody else meanwhile.
 */
export async function watchLocks<T>(
  client: pg.Client,
  applicationName: string,
  work: () => Promise<T>,
): Promise<{ value: T; locks: TableLock[] }> {
  const seen = new Map<string, Seen>();
  const ended = new AbortController();
  const look = async (): Promise<void> => {
    // A table that the migration itself creates is not visible in this session's catalogue yet, and disturbs nobody.
    const { rows } = await client.query<{ table: string; mode: string }>(
      `SELECT c.oid::regclass::text AS table, l.mode
         FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid JOIN pg_class c ON c.oid = l.relation
        WHERE a.application_name = $1 AND a.datname = current_database() AND l.granted AND l.mode = ANY($2) AND c.relkind IN ('r', 'p', 'm') AND c.relname <> 'schema_migrations'
          AND c.relnamespace IN ${ownSchemas}`,
      [applicationName, blockingModes],
    );
    const now = performance.now();
    for (const { table, mode } of rows) {
      const before = seen.get(table);
      if (before === undefined) seen.set(table, { mode, first: now, last: now });
      else {
        before.last = now;
        if (blockingModes.indexOf(mode) > blockingModes.indexOf(before.mode)) before.mode = mode;
      }
    }
  };
  const looking = (async () => {
    while (!ended.signal.aborted) {
      await look();
      await sleep(lookMs, undefined, { signal: ended.signal }).catch(() => undefined);
    }
  })();
  try {
    const value = await work();
    ended.abort();
    await looking;
    return {
      value,
      locks: [...seen]
        .map(([table, { mode, first, last }]) => ({ table, mode, heldMs: Math.round(last - first) }))
        .sort((a, b) => b.heldMs - a.heldMs),
    };
  } finally {
    ended.abort();
    await looking.catch(() => undefined);
  }
}
