/**
 * Brings a copy of a snapshot back from the storage. Like a new one, it gets its final name only once it is complete.
 */
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { join as joinOnHost } from "node:path/posix";
import type { StepContext } from "../../contract/context.ts";
import type { StepRequest, StepResult } from "../../contract/steps.ts";
import { messageOf, StepError } from "../../contract/errors.ts";
import { flushSnapshot } from "../snapshots/flush-snapshot.ts";
import { freeBytes } from "../snapshots/free-space.ts";
import { inStorage, rclone, storageProblem } from "../snapshots/object-storage.ts";
import { checkName, checkWhole } from "../snapshots/snapshot-file.ts";
import { manifestName } from "../../contract/snapshot-format.ts";
import { publishSnapshot, readManifest, withSnapshotLock } from "../snapshots/snapshots.ts";
import { type Manifest } from "../../contract/manifest.ts";
import { formatBytes, seconds } from "../../contract/units.ts";

type Request = StepRequest<"fetch">;

/** Runs rclone for this step; a failure says what to check. */
async function fetching(args: readonly string[], request: Request, context: StepContext): Promise<void> {
  await rclone("fetch", args, request, context).catch((error: unknown) => {
    context.signal.throwIfAborted();
    // A storage has no directories: rclone's missing directory is the bucket.
    const said = messageOf(error).includes("directory not found") ? "there is no such bucket" : messageOf(error);
    throw storageProblem(
      `nothing can be read from ${request.endpoint}/${request.bucket}: ${said}`,
      "nothing was touched",
    );
  });
}

/**
 * The manifests in the storage. A copy's manifest is written last: each of these copies is complete.
 * @param name a name, or a pattern.
 */
async function copiedManifests(request: Request, context: StepContext, name: string): Promise<Manifest[]> {
  const directory = await mkdtemp(join(tmpdir(), "manifests-"));
  try {
    await fetching(["copy", inStorage(request), directory, "--max-depth=1", `--include=/${name}`], request, context);
    const read = await Promise.all((await readdir(directory)).map((file) => readManifest(join(directory, file))));
    return read.filter((manifest) => manifest !== undefined);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Messages of rclone and the system for a full disk. */
const fullDisk = /no space left on device|remaining disk space|disk quota exceeded/i;

function noRoom(free: number, { backupLocation }: Request, { file, bytes }: Manifest): StepError {
  return new StepError(`${backupLocation} has ${formatBytes(free)} left, expected ${formatBytes(bytes)} for ${file}`, {
    hint: `free space on the Docker host: df -h ${backupLocation}; ls -lhS ${backupLocation}`,
  });
}

/** @returns false when it was there already. */
async function fetchOne(manifest: Manifest, request: Request, context: StepContext): Promise<boolean> {
  const { paths, log } = context;
  const directory = paths.backups;
  const { file, format } = manifest;
  const path = join(directory, file);
  if (
    await stat(path).then(
      () => true,
      () => false,
    )
  ) {
    const here = await readManifest(join(directory, manifestName(file)));
    if (here?.sha256 === manifest.sha256) return false;
    const where = joinOnHost(request.backupLocation, file);
    throw new StepError(
      `${where} is there already, and is not what the storage has: its SHA-256 is ${here?.sha256 ?? "not known"}, expected ${manifest.sha256}`,
      {
        hint: `nothing was touched; to take the storage's: mv ${where} ${where}.old, then run the same command again`,
      },
    );
  }
  const free = await freeBytes(directory);
  if (free < manifest.bytes) throw noRoom(free, request, manifest);
  const partial = `${path}.partial`;
  await rm(partial, { recursive: true, force: true });
  try {
    log.info(
      `fetch: ${file}, ${formatBytes(manifest.bytes)}, from ${request.endpoint}/${request.bucket}/${request.prefix}`,
    );
    await fetching(
      [format === "directory" ? "copy" : "copyto", inStorage(request, file), partial],
      request,
      context,
    ).catch(async (error: unknown) => {
      // Others write there as well: a full disk is not the storage's failure.
      throw fullDisk.test(messageOf(error)) ? noRoom(await freeBytes(directory), request, manifest) : error;
    });
    await checkWhole(partial, manifest, context);
    await flushSnapshot(partial, format, directory);
    context.signal.throwIfAborted();
    await publishSnapshot(directory, partial, manifest);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error;
  }
  return true;
}

export async function run(request: Request, context: StepContext): Promise<StepResult<"fetch">> {
  const started = performance.now();
  const { file, endpoint, bucket, prefix } = request;
  const ended = (copies: Manifest[], fetched: boolean): StepResult<"fetch"> => ({
    copies,
    fetched,
    durationMs: Math.round(performance.now() - started),
  });
  if (file === null) return ended(await copiedManifests(request, context, "togather_*.json"), false);
  checkName(file);
  return withSnapshotLock(context, async () => {
    const [manifest] = await copiedManifests(request, context, manifestName(file));
    if (manifest?.file !== file)
      throw new StepError(`there is no copy of ${file} in ${endpoint}/${bucket}/${prefix}`, {
        hint: "togather snapshots list --copies shows what there is",
      });
    const fetched = await fetchOne(manifest, request, context);
    context.log.info(
      fetched
        ? `fetch: ${joinOnHost(request.backupLocation, file)} in ${seconds(performance.now() - started)}`
        : `fetch: ${file} is in ${request.backupLocation} already`,
    );
    return ended([manifest], fetched);
  });
}
