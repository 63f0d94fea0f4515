/** Copies a snapshot to an S3-compatible storage, by rclone. Its manifest goes last: what has one there is whole. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import type { StepContext } from "../context.ts";
import type { StepRequest, StepResult } from "../contract.ts";
import { messageOf, StepError } from "../errors.ts";
import { asTaken, hasExpired } from "../snapshot-file.ts";
import { manifestName } from "../snapshot-format.ts";
import { readManifest, withSnapshotLock } from "../snapshots.ts";
import { megabytes, seconds } from "../units.ts";

type Request = StepRequest<"copy">;

/** rclone's remote of this name is described by its environment: no configuration file, and nothing on a command line. */
const remote = "storage";

/** How long rclone tries by itself when the storage does not answer: 3 attempts of everything, 5 of each request. */
const attempts = ["--retries=3", "--low-level-retries=5", "--contimeout=15s", "--timeout=120s"];

function environmentOf({ endpoint, region }: Request, { env }: Pick<StepContext, "env">): NodeJS.ProcessEnv {
  const settings = { type: "s3", provider: "Other", endpoint, region, access_key_id: env["SNAPSHOT_COPY_KEY_ID"], secret_access_key: env["SNAPSHOT_COPY_SECRET"], force_path_style: "true", no_check_bucket: "true" };
  return { PATH: env["PATH"], HOME: "/tmp", RCLONE_CONFIG: "/dev/null", ...Object.fromEntries(Object.entries(settings).map(([key, value]) => [`RCLONE_CONFIG_${remote.toUpperCase()}_${key.toUpperCase()}`, value])) };
}

/** rclone's own words without its time and level, the last ones first to be of use. */
function lastWords(stderr: string): string {
  const errors = stderr.split("\n").flatMap((line) => /(?:ERROR|CRITICAL|Failed to)\s*:?\s*(.*)$/.exec(line)?.[1] ?? []);
  return errors.at(-1) ?? stderr.trim().split("\n").at(-1) ?? "";
}

async function rclone(args: readonly string[], request: Request, { signal, env, log }: StepContext): Promise<void> {
  const program = execa("rclone", [...args, ...attempts, "--stats=2s", "--stats-one-line", "--stats-log-level=NOTICE"], { env: environmentOf(request, { env }), extendEnv: false, cancelSignal: signal, reject: false, stdin: "ignore" });
  program.stderr.on("data", (chunk: Buffer | string) => {
    const progress = /NOTICE:\s+(\S.*ETA.*)$/m.exec(chunk.toString())?.[1];
    if (progress !== undefined) log.info(`copy: ${progress.trim()}`);
  });
  const { failed, stderr } = await program;
  signal.throwIfAborted();
  if (failed) throw new Error(lastWords(stderr));
}

async function copy(request: Request, context: StepContext): Promise<string> {
  const { file, bucket, prefix } = request;
  const { paths, log } = context;
  const path = join(paths.backups, file);
  const target = `${remote}:${bucket}/${prefix}`;
  const directory = (await stat(path)).isDirectory();
  log.info(`copy: ${file} goes to ${request.endpoint}/${bucket}/${prefix}`);
  await rclone([directory ? "copy" : "copyto", "--checksum", path, `${target}${file}`], request, context);
  await rclone(["check", "--one-way", directory ? path : paths.backups, directory ? `${target}${file}` : target, ...(directory ? [] : [`--include=/${file}`])], request, context);
  await rclone(["copyto", join(paths.backups, manifestName(file)), `${target}${manifestName(file)}`], request, context);
  return `${request.endpoint}/${bucket}/${prefix}${file}`;
}

export async function run(request: Request, context: StepContext): Promise<StepResult<"copy">> {
  const { file, failure, bucket, endpoint } = request;
  const { log, paths } = context;
  const started = performance.now();
  const ended = (copied: string | null, reason: string | null): StepResult<"copy"> => ({ copied, reason, durationMs: Math.round(performance.now() - started) });
  return withSnapshotLock(context, async () => {
    if (await hasExpired(request, context)) {
      log.warn(`copy: ${file} has expired since it was taken; newer ones have taken its place`);
      return ended(null, "it has expired since it was taken");
    }
    const manifest = asTaken(await readManifest(join(paths.backups, manifestName(file))), request);
    try {
      const copied = await copy(request, context);
      log.info(`copy: ${copied}, ${megabytes(manifest.bytes)} in ${seconds(performance.now() - started)}`);
      return ended(copied, null);
    } catch (error) {
      context.signal.throwIfAborted();
      const what = `the snapshot ${file} is not copied to ${endpoint}/${bucket}: ${messageOf(error)}`;
      const hint = "check database.snapshot_copy, SNAPSHOT_COPY_KEY_ID and SNAPSHOT_COPY_SECRET; the same again copies what is missing";
      if (failure === "error") throw new StepError(what, { hint });
      log.warn(what, { hint });
      return ended(null, messageOf(error));
    }
  });
}
