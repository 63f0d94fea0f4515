/** Copies the old node's data: a snapshot of its database is proved, or replaces this stack's database. */
import { basename } from "node:path/posix";
import type { StepResult } from "../../ops/contract/steps.ts";
import type { DeployContext } from "../context.ts";
import { databaseSecrets, runHostStep } from "../snapshots/host-step.ts";
import { withHostLock } from "../snapshots/host-lock.ts";

export interface OldDatabase {
  /** Secret. */
  url: string;
  /** Its Docker network. */
  network: string;
}

/** The release under which the old node's snapshots are listed. */
const oldRelease = { version: "deploy.sh", commit: "deploy.sh" };

type Lock = Pick<DeployContext, "settings" | "file" | "before" | "output">;

function underLock<T>(
  { settings, file, before, output }: Lock,
  why: string,
  use: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return withHostLock({ settings, stack: file.stack, before, output, force: false, why }, use);
}

async function takeSnapshot(
  { settings, output }: DeployContext,
  old: OldDatabase,
  signal: AbortSignal,
): Promise<StepResult<"snapshot">> {
  const { backupLocation, snapshots } = settings;
  return runHostStep(
    "snapshot",
    { backupLocation, ...snapshots, release: oldRelease, withoutOwners: true },
    { settings, secrets: { DATABASE_URL: old.url }, output, signal, network: old.network },
  );
}

/** Copies the data into a scratch database of this stack's server, and counts every row. */
export async function tryCopy(
  context: DeployContext,
  old: OldDatabase,
): Promise<{ snapshot: string; rows: number; tables: number; durationMs: number }> {
  const { settings, output, pulumi } = context;
  const { secrets } = await databaseSecrets(pulumi);
  return underLock(context, "trial of an adoption", async (signal) => {
    const { file, sha256, durationMs } = await takeSnapshot(context, old, signal);
    const proved = await runHostStep(
      "verify",
      { backupLocation: settings.backupLocation, file: basename(file), foreign: false, sha256, required: true },
      { settings, secrets, output, signal },
    );
    return {
      snapshot: basename(file),
      rows: proved.rows,
      tables: proved.tables,
      durationMs: durationMs + proved.durationMs,
    };
  });
}

/** The same into this stack's database; the replaced one is kept under another name. */
export async function copy(
  context: DeployContext,
  old: OldDatabase,
): Promise<{ snapshot: string; rows: number; replaced: string | null }> {
  const { settings, output, pulumi } = context;
  const { secrets } = await databaseSecrets(pulumi);
  return underLock(context, "adoption", async (signal) => {
    const { file } = await takeSnapshot(context, old, signal);
    const { rows, replaced } = await runHostStep(
      "restore",
      { backupLocation: settings.backupLocation, file: basename(file), foreign: false, mode: "restore" },
      { settings, secrets, output, signal },
    );
    return { snapshot: basename(file), rows, replaced };
  });
}
