/** Snapshots on disk: names, manifests, and which of them go. */
import { readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import type { StepContext } from "./context.ts";
import { databaseAttributesSchema } from "./database-attributes.ts";
import { syncDirectory, writeFileAtomically } from "./files.ts";
import { withFileLock } from "./lock.ts";
import { extensionPattern, manifestName, snapshotFormats, stemOf } from "./snapshot-format.ts";

/** What is known about a snapshot, in a JSON file beside it. */
export const manifestSchema = z.looseObject({
  file: z.string(),
  format: z.enum(snapshotFormats).default("sql.gz"),
  /** Whom it is encrypted for, by their public keys; empty: it is not. */
  recipients: z.array(z.string()).default([]),
  time: z.string(),
  deployment: z.string(),
  environment: z.string(),
  /** The release before whose migrations it was taken. */
  before_version: z.string(),
  before_commit: z.string(),
  database: z.string(),
  /** By which a later restore knows that this still is the database that the snapshot was taken of. */
  database_oid: z.number(),
  database_version: z.string(),
  database_bytes: z.number(),
  tool_version: z.string(),
  /** golang-migrate's version in the snapshot; null in a database without migrations. */
  migration_version: z.number().nullable(),
  migration_dirty: z.boolean(),
  /** Rows by table (`schema.table`), counted in the same database snapshot as the dump. Tables of extensions are left out. */
  tables: z.record(z.string(), z.number()),
  rows: z.number(),
  /** Version by extension. */
  extensions: z.record(z.string(), z.string()),
  /** The first transaction that is not in it: rows of later ones were written since. */
  next_transaction: z.string(),
  /** River's jobs in it that are still to be worked; null where there is no table of them. */
  queued_jobs: z.number().nullable().optional(),
  /** Owner, rights and settings of the database itself, which are in no dump; older versions of this project have not written it. */
  attributes: databaseAttributesSchema.optional(),
  /** What else tells which rows are not in it (see row-visibility.ts); older versions of this project have not written it. */
  visibility: z.object({ snapshot: z.string(), seen: z.array(z.string()).optional() }).optional(),
  /** Of the file, compressed; in the format `directory` of all its files. */
  bytes: z.number(),
  /** Of the file; in the format `directory` that of `sha256sum *` in it. */
  sha256: z.string(),
  /** Before compression: all of it (0 in the format `directory`, where nobody knows), and the roles with which it begins. */
  plain_bytes: z.number(),
  roles_bytes: z.number(),
  /** Taken of another server's database, without owners and rights: what is restored belongs to the owner of the database that it takes the place of. */
  without_owners: z
    .strictObject({
      /** Tables and sequences that belong to an extension, as SQL writes their names: only who made it may write to them. */
      extension_relations: z.array(z.string()),
    })
    .optional(),
  duration_ms: z.number(),
  /** When it was restored into a scratch database and found complete. */
  verified_at: z.string().optional(),
  verify_duration_ms: z.number().optional(),
  /** It is about to be restored, and does not expire before then. */
  keep_until: z.string().optional(),
});
export type Manifest = z.infer<typeof manifestSchema>;

const nameEnding = new RegExp(`^(\\d{4})(\\d\\d)(\\d\\d)_(\\d\\d)(\\d\\d)(\\d\\d)${extensionPattern}$`);

/** The time in a snapshot's name, as an ISO time. Undefined when it is another deployment's, or no snapshot. */
function timeInName(file: string, name: string): string | undefined {
  const prefix = `togather_${name}_`;
  if (!file.startsWith(prefix)) return undefined;
  const [, year, month, day, hour, minute, second] = nameEnding.exec(file.slice(prefix.length)) ?? [];
  return year === undefined ? undefined : `${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`;
}

/** One at a time takes, reads or removes a deployment's snapshots. */
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

/** Removes what a killed run has left of a deployment's snapshots: files that are not whole, manifests without a snapshot. */
export async function removeLeftovers(directory: string, name: string): Promise<void> {
  const files = await readdir(directory);
  const whole = new Set(files.flatMap((file) => stemOf(file) ?? []));
  for (const file of files) {
    if (file.endsWith(".partial")) {
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
  /** Undefined when it is missing or can't be read. */
  manifest: Manifest | undefined;
}

/** Undefined when it is missing or can't be read. */
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

/** Gives a snapshot that is whole, and on disk, its name. @param partial its path until now. */
export async function publishSnapshot(directory: string, partial: string, manifest: Manifest): Promise<void> {
  // The manifest first: a snapshot that has its name also has its manifest.
  await writeManifest(directory, manifest);
  await rename(partial, join(directory, manifest.file));
  await syncDirectory(directory);
}

/** Notes in a snapshot's manifest that it was restored and found complete. @param durationMs how long that took. */
export async function noteVerified(directory: string, manifest: Manifest, durationMs: number): Promise<void> {
  await writeManifest(directory, {
    ...manifest,
    verified_at: new Date().toISOString(),
    verify_duration_ms: durationMs,
  });
}

/** Longest time between the look at a snapshot and its restore, in ms. */
const keepMs = 24 * 3600_000;

/** Notes in a snapshot's manifest that it is about to be restored. */
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
  /** How many stay. */
  keep: number;
  /** The newest so many verified ones stay, however old they are. */
  keepVerified: number;
  /** A snapshot that stays whatever its time says: the one just made, on a clock that was set back. */
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
