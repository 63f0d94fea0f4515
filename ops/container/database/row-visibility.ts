/**
 * Decides which rows a database snapshot contains: it compares the transaction that wrote a row (xmin) with the
 * snapshot of the transaction that exported it. Rows of transactions that were open then and were committed later are
 * not in it, whatever their number.
 */
import type pg from "pg";

/** Row visibility as a manifest stores it. */
export interface RowVisibility {
  /** `pg_current_snapshot()`: xmin:xmax:xip_list. */
  snapshot: string;
  /**
   * Transactions between xmin and xmax whose rows the snapshot contains, including subtransactions (the list of open
   * transactions in `snapshot` has none). Undefined: there were too many to list; then `snapshot` alone decides.
   */
  seen?: string[] | undefined;
}

/** Maximum of transactions that a manifest lists. */
const mostSeen = 10_000;
/** A transaction's number as a row has it: 32 bits. */
const wrap = 2n ** 32n;
/** Beyond this number of transactions, old rows can't be told from new ones: numbers wrap. */
const mostTransactions = 2n ** 31n - 1_000_000n;

/**
 * SQL for the full number of the transaction that wrote a row.
 * @param next the first number that no row can have.
 */
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

/** The snapshot of the client's current transaction. */
export async function currentSnapshot(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ snapshot: string }>(
    "SELECT pg_catalog.pg_current_snapshot()::text AS snapshot",
  );
  return rows[0]?.snapshot ?? "";
}

/**
 * SQL for an aggregate over one table's rows, which lists the transactions of `RowVisibility.seen`. Undefined: no
 * transaction was open.
 * @param snapshot the client's own.
 */
export function seenAggregate(snapshot: string): string | undefined {
  const { xmin, xmax } = boundsOf(snapshot);
  return xmin === xmax
    ? undefined
    : `array_agg(DISTINCT ${writerOf(xmax)}::text) FILTER (WHERE ${writerOf(xmax)} >= ${xmin})`;
}

/**
 * The row visibility that a manifest stores.
 * @param seen transactions that the aggregate has listed, of all tables.
 */
export function rowVisibility(snapshot: string, seen: Iterable<string>): RowVisibility {
  const all = [...new Set(seen)].sort();
  return { snapshot, ...(all.length > mostSeen ? {} : { seen: all }) };
}

/**
 * SQL condition for rows that a snapshot does not contain.
 * @param taken row visibility of the snapshot.
 * @param now the client's current snapshot, in the same database cluster.
 * @returns undefined where it can no longer be known, or where the snapshot is from a later time.
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
