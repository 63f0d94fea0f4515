/** Snapshots on disk: names, manifests, retention. */
import { readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { StepContext } from "../../contract/context.ts";
import { type Manifest, manifestSchema } from "../../contract/manifest.ts";
import { syncDirectory, writeFileAtomically } from "../files.ts";
import { withFileLock } from "../lock.ts";
import { extensionPattern, manifestName, stemOf } from "../../contract/snapshot-format.ts";

const nameEnding = new RegExp(`^(\\d{4})(\\d\\d)(\\d\\d)_(\\d\\d)(\\d\\d)(\\d\\d)${extensionPattern}$`);

/** The time in a snapshot's name, as an ISO time. Undefined: another deployment's, or no snapshot. */
function timeInName(file: string, name: string): string | undefined {
  const prefix = `togather_${name}_`;
  if (!file.startsWith(prefix)) return undefined;
  const [, year, month, day, hour, minute, second] = nameEnding.exec(file.slice(prefix.length)) ?? [];
  return year === undefined ? undefined : `${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`;
}

/** Allows one process at a time to take, read or remove a deployment's snapshots. */
export function withSnapshotLock<T>({ log, paths, signal }: StepContext, use: () => Promise<T>): Promise<T> {
  return withFileLock(
    {
      file: join(paths.state, ".snapshot.lock"),
      waitSeconds: 3600,
      signal,
      onWait: () => {
        log.info("snapshot: another step works on the snapshots of this deployment, waiting for it");
      },
    },
    use,
  );
}

/** Removes what killed runs have left of a deployment's snapshots: incomplete files, manifests without a snapshot. */
export async function removeLeftovers(directory: string, name: string): Promise<void> {
  const files = await readdir(directory);
  const whole = new Set(files.flatMap((file) => stemOf(file) ?? []));
  for (const file of files) {
    // The temporary file of a manifest: no later run would ever reuse its name.
    const [, temporary] = /^\.(.*)\.json\.[0-9a-f]+\.tmp$/.exec(file) ?? [];
    if (temporary !== undefined && timeInName(`${temporary}.sql.gz`, name) !== undefined)
      await rm(join(directory, file), { force: true });
    else if (file.endsWith(".partial")) {
      if (timeInName(file.slice(0, -".partial".length), name) !== undefined)
        await rm(join(directory, file), { recursive: true, force: true });
    } else if (file.endsWith(".json")) {
      const stem = file.slice(0, -".json".length);
      if (timeInName(`${stem}.sql.gz`, name) !== undefined && !whole.has(stem))
        await rm(join(directory, file), { force: true });
    }
  }
}

export interface StoredSnapshot {
  file: string;
  time: string;
  /** Undefined: missing or unreadable. */
  manifest: Manifest | undefined;
}

/** A snapshot's manifest. Undefined: missing or unreadable. */
export async function readManifest(file: string): Promise<Manifest | undefined> {
  try {
    return manifestSchema.parse(JSON.parse(await readFile(file, "utf8")));
  } catch {
    return undefined;
  }
}

async function writeManifest(directory: string, manifest: Manifest): Promise<void> {
  await writeFileAtomically(join(directory, manifestName(manifest.file)), `${JSON.stringify(manifest, null, 2)}\n`);
}

/**
 * Gives a complete, flushed snapshot its final name.
 * @param partial its path until now.
 */
export async function publishSnapshot(directory: string, partial: string, manifest: Manifest): Promise<void> {
  // The manifest first: a snapshot with its final name always has a manifest.
  await writeManifest(directory, manifest);
  await rename(partial, join(directory, manifest.file));
  await syncDirectory(directory);
}

/**
 * Records in a snapshot's manifest that it was restored and found complete.
 * @param durationMs duration of that restore.
 */
export async function noteVerified(directory: string, manifest: Manifest, durationMs: number): Promise<void> {
  await writeManifest(directory, {
    ...manifest,
    verified_at: new Date().toISOString(),
    verify_duration_ms: durationMs,
  });
}

/** Longest time between a look at a snapshot and its restore, in ms. */
const keepMs = 24 * 3600_000;

/** Records in a snapshot's manifest that it is about to be restored. */
export async function noteKept(directory: string, manifest: Manifest): Promise<void> {
  await writeManifest(directory, { ...manifest, keep_until: new Date(Date.now() + keepMs).toISOString() });
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

export interface Retention {
  /** The deployment's name. */
  name: string;
  /** Number of snapshots that stay. */
  keep: number;
  /** Number of the newest verified ones that stay, whatever their age. */
  keepVerified: number;
  /** A snapshot that always stays, whatever its time: the one just taken, on a clock that was set back. */
  never: string;
}

/** Removes all but the newest snapshots of a deployment. */
export async function expireSnapshots(directory: string, options: Retention): Promise<string[]> {
  const all = await listSnapshots(directory, options.name);
  const verified = all.filter(({ manifest }) => manifest?.verified_at !== undefined).slice(0, options.keepVerified);
  const now = new Date().toISOString();
  const kept = all.filter(({ manifest }) => manifest?.keep_until !== undefined && manifest.keep_until > now);
  const stay = new Set([options.never, ...[...verified, ...kept].map(({ file }) => file)]);
  const others = all.filter(({ file }) => file !== options.never);
  const expired = others
    .slice(Math.max(0, options.keep - 1))
    .map(({ file }) => file)
    .filter((file) => !stay.has(file));
  for (const file of expired) {
    await rm(join(directory, file), { recursive: true, force: true });
    await rm(join(directory, manifestName(file)), { force: true });
  }
  if (expired.length > 0) await syncDirectory(directory);
  return expired;
}
