/**
 * Copies a snapshot to an S3-compatible storage with rclone. The manifest is copied last: a copy with a manifest is
 * complete.
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { StepContext } from "../../contract/context.ts";
import type { StepRequest, StepResult } from "../../contract/steps.ts";
import { messageOf } from "../../contract/errors.ts";
import { inStorage, rclone, storageProblem } from "../snapshots/object-storage.ts";
import { asTaken, hasExpired } from "../snapshots/snapshot-file.ts";
import { manifestName } from "../../contract/snapshot-format.ts";
import { readManifest, withSnapshotLock } from "../snapshots/snapshots.ts";
import { formatBytes, seconds } from "../../contract/units.ts";

type Request = StepRequest<"copy">;

async function copy(request: Request, context: StepContext): Promise<string> {
  const { file, bucket, prefix } = request;
  const { paths, log } = context;
  const path = join(paths.backups, file);
  const directory = (await stat(path)).isDirectory();
  log.info(`copy: ${file} goes to ${request.endpoint}/${bucket}/${prefix}`);
  const run = (...args: string[]): Promise<void> => rclone("copy", args, request, context);
  await run(directory ? "copy" : "copyto", "--checksum", path, inStorage(request, file));
  await run(
    "check",
    "--one-way",
    directory ? path : paths.backups,
    inStorage(request, directory ? file : ""),
    ...(directory ? [] : [`--include=/${file}`]),
  );
  await run("copyto", join(paths.backups, manifestName(file)), inStorage(request, manifestName(file)));
  return `${request.endpoint}/${bucket}/${prefix}${file}`;
}

export async function run(request: Request, context: StepContext): Promise<StepResult<"copy">> {
  const { file, failure, bucket, endpoint } = request;
  const { log, paths } = context;
  const started = performance.now();
  const ended = (copied: string | null, reason: string | null): StepResult<"copy"> => ({
    copied,
    reason,
    durationMs: Math.round(performance.now() - started),
  });
  return withSnapshotLock(context, async () => {
    if (await hasExpired(request, context)) {
      log.warn(`copy: ${file} has expired since it was taken; newer ones have taken its place`);
      return ended(null, "it has expired since it was taken");
    }
    const manifest = asTaken(await readManifest(join(paths.backups, manifestName(file))), request);
    try {
      const copied = await copy(request, context);
      log.info(`copy: ${copied}, ${formatBytes(manifest.bytes)} in ${seconds(performance.now() - started)}`);
      return ended(copied, null);
    } catch (error) {
      context.signal.throwIfAborted();
      const problem = storageProblem(
        `the snapshot ${file} is not copied to ${endpoint}/${bucket}: ${messageOf(error)}`,
        "run the same command again: it copies what is missing",
      );
      if (failure === "error") throw problem;
      log.warn(problem.message, { hint: problem.hint });
      return ended(null, messageOf(error));
    }
  });
}
