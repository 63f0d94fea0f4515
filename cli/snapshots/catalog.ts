/** The snapshots on a Docker host. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { extensionPattern } from "../../ops/contract/snapshot-format.ts";
import { isSameRelease } from "../../ops/contract/release.ts";
import type { Release } from "../../ops/contract/steps.ts";
import { manifestSchema, type Manifest } from "../../ops/contract/manifest.ts";
import { Failure } from "../failure.ts";
import { DockerHost, NotOnHost } from "../host/docker-host.ts";
import type { Entry } from "../host/entries.ts";
import { invocation } from "../output.ts";
import type { PlainSettings } from "../stack-file.ts";

const listedSchema = z.array(z.object({ file: z.string(), bytes: z.number(), manifest: z.unknown() }));

export interface ListedSnapshot {
  /** Its id in commands: `YYYYMMDD_HHMMSS`; another deployment's has its file's name. */
  id: string;
  file: string;
  bytes: number;
  /** Undefined: missing or unreadable. */
  manifest: Manifest | undefined;
}

const stampInName = new RegExp(`^(?:.*_)?(\\d{4})(\\d\\d)(\\d\\d)_(\\d\\d)(\\d\\d)(\\d\\d)(?:${extensionPattern})?$`);
const stampEnding = new RegExp(`^(\\d{8}_\\d{6})${extensionPattern}$`);

/** A deployment's snapshots, or those of all deployments in the directory, the newest first by their manifests. */
export async function listSnapshots(
  settings: Pick<PlainSettings, "name" | "host" | "backupLocation">,
  all = false,
): Promise<ListedSnapshot[]> {
  const program = readFileSync(join(import.meta.dirname, "list.mjs"), "utf8");
  const text = await new DockerHost(settings.host)
    .run(
      ["node", "--input-type=module", "-"],
      { directories: { "/backups": settings.backupLocation } },
      { input: program },
    )
    .catch((error: unknown) => {
      if (error instanceof NotOnHost) return "[]";
      throw error;
    });
  const found = listedSchema
    .parse(JSON.parse(text))
    .map(({ file, bytes, manifest }) => ({ file, bytes, manifest: manifestSchema.safeParse(manifest).data }));
  return withIds(found, settings, all);
}

/** The id in commands of a deployment's own snapshot; undefined for another file. */
export function snapshotId(file: string, name: string): string | undefined {
  const own = `togather_${name}_`;
  return file.startsWith(own) ? stampEnding.exec(file.slice(own.length))?.[1] : undefined;
}

/** The ids of snapshots in commands, newest first by their manifests. @param all keeps those of other deployments, too. */
export function withIds(
  snapshots: readonly Omit<ListedSnapshot, "id">[],
  { name }: Pick<PlainSettings, "name">,
  all: boolean,
): ListedSnapshot[] {
  const time = ({ id, manifest }: ListedSnapshot): number =>
    Date.parse(manifest?.time ?? id.replace(stampInName, "$1-$2-$3T$4:$5:$6Z"));
  return snapshots
    .flatMap((snapshot) => {
      const stamp = snapshotId(snapshot.file, name);
      return stamp === undefined && !all ? [] : [{ id: stamp ?? snapshot.file, ...snapshot }];
    })
    .sort((a, b) => time(b) - time(a));
}

/**
 * The snapshot that a person names: an id, the beginning of one, a file's name, or `latest`.
 * @param listing the command that lists them.
 */
export function findSnapshot(snapshots: readonly ListedSnapshot[], id: string, listing: string): ListedSnapshot {
  const exact = snapshots.filter((snapshot) => snapshot.id === id || snapshot.file === id);
  const found =
    exact.length > 0
      ? exact
      : id === "latest"
        ? snapshots.slice(0, 1)
        : snapshots.filter((snapshot) => snapshot.id.startsWith(id));
  const [one] = found;
  if (one !== undefined && found.length === 1) return one;
  throw new Failure(
    "config",
    one === undefined ? `there is no snapshot ${id}` : `${id} is the beginning of ${found.length} snapshots`,
    invocation(listing),
  );
}

/** A rollback's target, and the release that it gives up. */
export interface WayBack {
  target: Release;
  givenUp: Release;
  /** The last schema version of the target's own migrations. Null: it has none; undefined: unknown. */
  needs: number | null | undefined;
  /** The host's deployments, in any order. */
  history: readonly Pick<Entry, "status" | "version" | "commit" | "startedAt" | "endedAt">[];
}

type History = WayBack["history"];

/** When a release's deployments have succeeded, the first one first. */
const tookOver = (release: Release, history: History): string[] =>
  history
    .flatMap(({ status, version = "", commit = "", endedAt }) =>
      status === "succeeded" && endedAt !== undefined && isSameRelease({ version, commit }, release) ? [endedAt] : [],
    )
    .sort();

/**
 * Snapshots with a schema that a release had, the newest first. No release ever used a schema that a failed file has
 * left dirty.
 */
const possibleOf = (
  snapshots: readonly ListedSnapshot[],
): { snapshot: ListedSnapshot; time: string; schema: number | null; byHand: boolean }[] =>
  snapshots.flatMap((snapshot) => {
    if (snapshot.manifest === undefined || snapshot.manifest.migration_dirty) return [];
    const { time, migration_version: schema, reason } = snapshot.manifest;
    return [{ snapshot, time, schema, byHand: reason !== undefined }];
  });

/**
 * The schema version with which a release was seen to serve last, by the snapshot of the first deployment after it took over: it may be ahead of its
 * own migrations, after a rollback. Undefined where that deployment took none.
 */
export function schemaServed(
  snapshots: readonly ListedSnapshot[],
  release: Release,
  history: History,
): number | null | undefined {
  const last = tookOver(release, history).at(-1);
  if (last === undefined) return undefined;
  const [first, second = "~"] = history
    .map(({ startedAt }) => startedAt)
    .filter((time) => time > last)
    .sort();
  if (first === undefined) return undefined;
  return possibleOf(snapshots).findLast(({ time, byHand }) => !byHand && time >= first && time < second)?.schema;
}

/**
 * The snapshot with the database as the target had it. It is the newest one with the target's schema, taken after the
 * target's first success and before its successor's, whichever release it was taken before: a first attempt may have
 * run the migrations already. The schema is the one that the target was last seen to serve with; where that is
 * unknown, it is the version that the target needs.
 */
export function snapshotBefore(
  snapshots: readonly ListedSnapshot[],
  { target, givenUp, needs, history }: WayBack,
): ListedSnapshot | undefined {
  const served = tookOver(target, history);
  const from = served[0] ?? "";
  const last = served.at(-1) ?? "";
  const until = tookOver(givenUp, history).find((time) => time >= last) ?? "~";
  const seen = schemaServed(snapshots, target, history);
  const schema = seen === undefined ? needs : seen;
  return schema === undefined
    ? undefined
    : possibleOf(snapshots).find((one) => one.schema === schema && one.time > from && one.time < until)?.snapshot;
}
