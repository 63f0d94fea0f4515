/**
 * Which rows a database snapshot has: by the transaction that wrote them (xmin), against the snapshot of the transaction that exported it.
 * Rows of transactions that were open then, and were committed later, are not in it, whatever their number.
 */
import type pg from "pg";

/** What a manifest keeps of it. */
export interface RowVisibility {
  /** `pg_current_snapshot()`: xmin:xmax:xip_list. */
  snapshot: string;
  /**
   * Transactions from xmin to xmax of which the snapshot has rows, subtransactions one by one: the list of open ones in `snapshot` has no
   * subtransactions. Undefined where there were too many to keep; then `snapshot` alone decides.
   */
  seen?: string[] | undefined;
}

/** Transactions that a manifest names at most. */
const mostSeen = 10_000;
/** A transaction's number as a row has it: 32 bits. */
const wrap = 2n ** 32n;
/** From here on a row from before can't be told from one from after. */
const mostTransactions = 2n ** 31n - 1_000_000n;

/** The number of the transaction that wrote a row in full, as SQL. @param next the first number that no row can have. */
const writerOf = (next: bigint): string => `(${next} - ((${next} - xmin::text::bigint) & ${wrap - 1n}))`;

interface Bounds {
  xmin: bigint;
  xmax: bigint;
}

function boundsOf(snapshot: string): Bounds {
  const [, xmin, xmax] = /^(\d+):(\d+):[\d,]*$/.exec(snapshot) ?? [];
  if (xmin === undefined || xmax === undefined) throw new Error(`${JSON.stringify(snapshot)} is not a pg_snapshot`);
  return { xmin: BigInt(xmin), xmax: BigInt(xmax) };
}

/** The snapshot of the transaction that the client is in. */
export async function currentSnapshot(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ snapshot: string }>(
    "SELECT pg_catalog.pg_current_snapshot()::text AS snapshot",
  );
  return rows[0]?.snapshot ?? "";
}

/**
 * An aggregate, as SQL, that lists the transactions of `RowVisibility.seen` of the rows of one table; undefined where none was open.
 * @param snapshot the client's own.
 */
export function seenAggregate(snapshot: string): string | undefined {
  const { xmin, xmax } = boundsOf(snapshot);
  return xmin === xmax
    ? undefined
    : `array_agg(DISTINCT ${writerOf(xmax)}::text) FILTER (WHERE ${writerOf(xmax)} >= ${xmin})`;
}

/** What a manifest keeps. @param seen what the aggregate has listed, of all tables. */
export function rowVisibility(snapshot: string, seen: Iterable<string>): RowVisibility {
  const all = [...new Set(seen)].sort();
  return { snapshot, ...(all.length > mostSeen ? {} : { seen: all }) };
}

/**
 * A condition, as SQL, for rows that a snapshot does not have.
 * @param taken of the snapshot.
 * @param now the snapshot of the client, in the same database cluster.
 * @returns undefined where nobody can tell any more, or where the snapshot is from a later time.
 */
export function writtenSince({ snapshot, seen }: RowVisibility, now: string): string | undefined {
  const [then, { xmax: next }] = [boundsOf(snapshot), boundsOf(now)];
  if (next < then.xmax || next - then.xmin > mostTransactions) return undefined;
  const writer = writerOf(next);
  if (then.xmin === then.xmax) return `${writer} >= ${then.xmax}`;
  const before =
    seen === undefined
      ? `pg_catalog.pg_visible_in_snapshot(${writer}::text::xid8, '${snapshot}')`
      : `${writer} = ANY ('{${seen.join(",")}}'::bigint[])`;
  return `(${writer} >= ${then.xmax} OR (${writer} >= ${then.xmin} AND NOT ${before}))`;
}
