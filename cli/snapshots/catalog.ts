/** The snapshots that a Docker host keeps. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { extensionPattern } from "../../ops/snapshot-format.ts";
import { manifestSchema, type Manifest } from "../../ops/snapshots.ts";
import { Failure } from "../failure.ts";
import { DockerHost, NotOnHost } from "../host/docker-host.ts";
import { invocation } from "../output.ts";
import type { PlainSettings } from "../stack-file.ts";

const listedSchema = z.array(z.object({ file: z.string(), bytes: z.number(), manifest: z.unknown() }));

export interface ListedSnapshot {
  /** What commands call it: `YYYYMMDD_HHMMSS`; another deployment's goes by its file's name. */
  id: string;
  file: string;
  bytes: number;
  /** Undefined when there is none that can be read. */
  manifest: Manifest | undefined;
}

const stampInName = new RegExp(`^(?:.*_)?(\\d{4})(\\d\\d)(\\d\\d)_(\\d\\d)(\\d\\d)(\\d\\d)(?:${extensionPattern})?$`);
const stampEnding = new RegExp(`^(\\d{8}_\\d{6})${extensionPattern}$`);

/** A deployment's snapshots, the newest first by their manifests; or those of all deployments in the directory. */
export async function listSnapshots(settings: Pick<PlainSettings, "name" | "host" | "backupLocation">, all = false): Promise<ListedSnapshot[]> {
  const program = readFileSync(join(import.meta.dirname, "list.mjs"), "utf8");
  const text = await new DockerHost(settings.host)
    .run(["node", "--input-type=module", "-"], { directories: { "/backups": settings.backupLocation } }, { input: program })
    .catch((error: unknown) => {
      if (error instanceof NotOnHost) return "[]";
      throw error;
    });
  const found = listedSchema.parse(JSON.parse(text)).map(({ file, bytes, manifest }) => ({ file, bytes, manifest: manifestSchema.safeParse(manifest).data }));
  return withIds(found, settings, all);
}

/** What commands call snapshots, the newest first by their manifests. @param all keeps those of other deployments, too. */
export function withIds(snapshots: readonly Omit<ListedSnapshot, "id">[], { name }: Pick<PlainSettings, "name">, all: boolean): ListedSnapshot[] {
  const own = `togather_${name}_`;
  const time = ({ id, manifest }: ListedSnapshot): number => Date.parse(manifest?.time ?? id.replace(stampInName, "$1-$2-$3T$4:$5:$6Z"));
  return snapshots
    .flatMap((snapshot) => {
      const stamp = snapshot.file.startsWith(own) ? stampEnding.exec(snapshot.file.slice(own.length))?.[1] : undefined;
      return stamp === undefined && !all ? [] : [{ id: stamp ?? snapshot.file, ...snapshot }];
    })
    .sort((a, b) => time(b) - time(a));
}

/** The snapshot that somebody means: an id, the beginning of one, a file's name, or `latest`. @param listing the command that lists them. */
export function findSnapshot(snapshots: readonly ListedSnapshot[], id: string, listing: string): ListedSnapshot {
  const exact = snapshots.filter((snapshot) => snapshot.id === id || snapshot.file === id);
  const found = exact.length > 0 ? exact : id === "latest" ? snapshots.slice(0, 1) : snapshots.filter((snapshot) => snapshot.id.startsWith(id));
  const [one] = found;
  if (one !== undefined && found.length === 1) return one;
  throw new Failure("config", one === undefined ? `there is no snapshot ${id}` : `${id} is the beginning of ${found.length} snapshots`, invocation(listing));
}

/**
 * The snapshot from before a release's migrations: the newest one whose schema is older than what the release needs, or,
 * where it had none to run, the newest one.
 */
export function snapshotBefore(snapshots: readonly ListedSnapshot[], commit: string, needs: number | null | undefined): ListedSnapshot | undefined {
  const own = snapshots.filter(({ manifest }) => manifest !== undefined && manifest.before_commit === commit);
  return own.find(({ manifest }) => needs !== null && needs !== undefined && (manifest?.migration_version ?? 0) < needs) ?? own[0];
}
