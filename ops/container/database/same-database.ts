/** Whether a database still is the one that a snapshot was taken of, and how many transactions it has had since. */
import type pg from "pg";
import type { Manifest } from "../../contract/manifest.ts";

/**
 * The number of transactions since a snapshot. Undefined: it is another database, or the snapshot is from a later time.
 */
export async function transactionsSince(
  client: pg.Client,
  manifest: Pick<Manifest, "database_oid" | "next_transaction">,
): Promise<bigint | undefined> {
  const { rows } = await client.query<{ oid: number; next: string }>(
    "SELECT oid, pg_snapshot_xmax(pg_current_snapshot())::text AS next FROM pg_database WHERE datname = current_database()",
  );
  const [now] = rows;
  if (now === undefined || now.oid !== manifest.database_oid) return undefined;
  const since = BigInt(now.next) - BigInt(manifest.next_transaction);
  return since < 0n ? undefined : since;
}
