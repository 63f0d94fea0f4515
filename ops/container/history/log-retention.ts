import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";

/**
 * Removes the logs of a deployment's older runs. The directory is shared by all deployments of a host: only logs of the
 * given ids go.
 * @param ids of this deployment, the oldest first, as the history has them.
 * @param keep the newest so many logs stay.
 * @returns the ids whose logs are gone now.
 */
export async function expireLogs(directory: string, ids: readonly string[], keep: number): Promise<string[]> {
  const there = new Set(await readdir(directory));
  const own = [...new Set(ids)].filter((id) => there.has(`${id}.log`));
  const expired = own.slice(0, Math.max(0, own.length - keep));
  for (const id of expired) await rm(join(directory, `${id}.log`), { force: true });
  return expired;
}
