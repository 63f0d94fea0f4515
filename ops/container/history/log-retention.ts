import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";

/**
 * Removes the logs of a deployment's older runs. All deployments of a host share the directory: only logs of the given
 * ids are removed.
 * @param ids deployment ids of the history, the oldest first.
 * @param keep number of newest logs that stay.
 * @returns the ids whose logs no longer exist.
 */
export async function expireLogs(directory: string, ids: readonly string[], keep: number): Promise<string[]> {
  const there = new Set(await readdir(directory));
  const own = [...new Set(ids)].filter((id) => there.has(`${id}.log`));
  const expired = own.slice(0, Math.max(0, own.length - keep));
  for (const id of expired) await rm(join(directory, `${id}.log`), { force: true });
  return expired;
}
