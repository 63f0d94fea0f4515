/** An S3-compatible storage, reached by rclone. */
import { execa } from "execa";
import type { StepContext } from "../../contract/context.ts";
import type { StepRequest } from "../../contract/steps.ts";
import { StepError } from "../../contract/errors.ts";

/** The storage that snapshots are copied to. */
export type Storage = Pick<StepRequest<"copy">, "endpoint" | "region" | "bucket" | "prefix">;

/**
 * rclone's remote of this name is configured by environment variables: no configuration file, and no secret on a
 * command line.
 */
const remote = "storage";

/** rclone's own retries when the storage does not answer: 3 for each command, 5 for each request. */
const attempts = ["--retries=3", "--low-level-retries=5", "--contimeout=15s", "--timeout=120s"];

/** rclone's path of an object; without a name, of everything below the prefix. */
export function inStorage({ bucket, prefix }: Storage, name = ""): string {
  return `${remote}:${bucket}/${prefix}${name}`;
}

function environmentOf({ endpoint, region }: Storage, { env }: Pick<StepContext, "env">): NodeJS.ProcessEnv {
  const settings = {
    type: "s3",
    provider: "Other",
    endpoint,
    region,
    access_key_id: env["SNAPSHOT_COPY_KEY_ID"],
    secret_access_key: env["SNAPSHOT_COPY_SECRET"],
    force_path_style: "true",
    no_check_bucket: "true",
  };
  return {
    PATH: env["PATH"],
    HOME: "/tmp",
    RCLONE_CONFIG: "/dev/null",
    ...Object.fromEntries(
      Object.entries(settings).map(([key, value]) => [
        `RCLONE_CONFIG_${remote.toUpperCase()}_${key.toUpperCase()}`,
        value,
      ]),
    ),
  };
}

/** rclone's messages without time and level: the last ones that are of use. */
function lastWords(stderr: string): string {
  const errors = stderr
    .split("\n")
    .flatMap((line) => /(?:ERROR|CRITICAL|Failed to)\s*:?\s*(.*)$/.exec(line)?.[1] ?? []);
  return errors.at(-1) ?? stderr.trim().split("\n").at(-1) ?? "";
}

/**
 * Runs rclone and shows its progress.
 * @param what the step's name, as a prefix of its lines.
 * @throws {Error} with rclone's own message.
 */
export async function rclone(
  what: string,
  args: readonly string[],
  storage: Storage,
  { signal, env, log }: StepContext,
): Promise<void> {
  const program = execa(
    "rclone",
    [...args, ...attempts, "--stats=2s", "--stats-one-line", "--stats-log-level=NOTICE"],
    { env: environmentOf(storage, { env }), extendEnv: false, cancelSignal: signal, reject: false, stdin: "ignore" },
  );
  program.stderr.on("data", (chunk: Buffer | string) => {
    const progress = /NOTICE:\s+(\S.*ETA.*)$/m.exec(chunk.toString())?.[1];
    if (progress !== undefined && !progress.startsWith("0 B / 0 B")) log.info(`${what}: ${progress.trim()}`);
  });
  const { failed, stderr } = await program;
  signal.throwIfAborted();
  if (failed) throw new Error(lastWords(stderr));
}

/** Error with a hint for a storage that refuses. */
export function storageProblem(what: string, again: string): StepError {
  return new StepError(what, {
    hint: `check database.snapshot_copy, SNAPSHOT_COPY_KEY_ID and SNAPSHOT_COPY_SECRET; ${again}`,
  });
}
