/** Snapshots on disk: names, manifests, and which of them go. */
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { syncDirectory } from "./files.ts";

/** What is known about a snapshot, in a JSON file beside it. */
export const manifestSchema = z.looseObject({
  file: z.string(),
  time: z.string(),
  deployment: z.string(),
  environment: z.string(),
  /** The release before whose migrations it was taken. */
  before_version: z.string(),
  before_commit: z.string(),
  database: z.string(),
  database_version: z.string(),
  database_bytes: z.number(),
  tool_version: z.string(),
  /** golang-migrate's version in the snapshot; null in a database without migrations. */
  migration_version: z.number().nullable(),
  migration_dirty: z.boolean(),
  row_estimate: z.number(),
  bytes: z.number(),
  sha256: z.string(),
  duration_ms: z.number(),
});
export type Manifest = z.infer<typeof manifestSchema>;

export function snapshotName(name: string, timestamp: string): string {
  return `togather_${name}_${timestamp}.sql.gz`;
}

export function manifestName(snapshot: string): string {
  return snapshot.replace(/\.sql\.gz$/, ".json");
}

/** The time in a snapshot's name, as an ISO time. Undefined when it is another deployment's, or no snapshot. */
function timeInName(file: string, name: string): string | undefined {
  const prefix = snapshotName(name, "").replace(/\.sql\.gz$/, "");
  if (!file.startsWith(prefix)) return undefined;
  const [, year, month, day, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)(\d\d)\.sql\.gz$/.exec(file.slice(prefix.length)) ?? [];
  return year === undefined ? undefined : `${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`;
}

export interface StoredSnapshot {
  file: string;
  time: string;
  /** Undefined when it is missing or can't be read. */
  manifest: Manifest | undefined;
}

async function readManifest(file: string): Promise<Manifest | undefined> {
  try {
    return manifestSchema.parse(JSON.parse(await readFile(file, "utf8")));
  } catch {
    return undefined;
  }
}

/** A deployment's snapshots, the newest first. */
export async function listSnapshots(directory: string, name: string): Promise<StoredSnapshot[]> {
  const found: StoredSnapshot[] = [];
  for (const file of await readdir(directory)) {
    const named = timeInName(file, name);
    if (named === undefined) continue;
    const manifest = await readManifest(join(directory, manifestName(file)));
    found.push({ file, time: manifest?.time ?? named, manifest });
  }
  return found.sort((a, b) => Date.parse(b.time) - Date.parse(a.time) || (a.file < b.file ? 1 : -1));
}

/**
 * Removes all but the newest snapshots of a deployment.
 * @param options.never a snapshot that stays whatever its time says: the one just made, on a clock that was set back.
 */
export async function expireSnapshots(directory: string, options: { name: string; keep: number; never: string }): Promise<string[]> {
  const others = (await listSnapshots(directory, options.name)).filter(({ file }) => file !== options.never);
  const expired = others.slice(Math.max(0, options.keep - 1)).map(({ file }) => file);
  for (const file of expired) {
    await rm(join(directory, file), { force: true });
    await rm(join(directory, manifestName(file)), { force: true });
  }
  if (expired.length > 0) await syncDirectory(directory);
  return expired;
}
