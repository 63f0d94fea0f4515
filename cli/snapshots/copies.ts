/** The copies of snapshots in a storage, and their return to the Docker host. */
import { manifestSchema } from "../../ops/contract/manifest.ts";
import type { StepResult } from "../../ops/contract/steps.ts";
import type { DeployContext } from "../context.ts";
import { Failure } from "../failure.ts";
import { invocation } from "../output.ts";
import { withIds, type ListedSnapshot } from "./catalog.ts";
import { runHostStep } from "./host-step.ts";

/** A deployment's copies of snapshots. */
export interface Copies {
  /** The newest first; with `all`, those of all deployments in the same place. */
  list: (all: boolean) => Promise<ListedSnapshot[]>;
  /** Brings one back to the directory of snapshots. */
  fetch: (copy: ListedSnapshot) => Promise<StepResult<"fetch">>;
}

type Storage = NonNullable<DeployContext["settings"]["snapshotCopy"]>;

/** @throws {Failure} where no storage is configured, or the stack does not have its credentials yet. */
async function storageOf({
  file: { stack },
  settings,
  pulumi,
}: DeployContext): Promise<{ storage: Storage; secrets: Record<string, string> }> {
  if (settings.snapshotCopy === null)
    throw new Failure(
      "config",
      "snapshots of this deployment are copied nowhere: database.snapshot_copy is not set",
      "set it: docs/snapshots.md, Copies elsewhere",
    );
  const { snapshotCopyKeyId: keyId, snapshotCopySecret: secret } = await pulumi.secretOutputs();
  if (keyId === undefined || secret === undefined)
    throw new Failure(
      "config",
      `the stack ${stack} was not deployed with database.snapshot_copy yet, so that it has no credentials of the storage`,
      invocation(`up --stack ${stack}`),
    );
  return { storage: settings.snapshotCopy, secrets: { SNAPSHOT_COPY_KEY_ID: keyId, SNAPSHOT_COPY_SECRET: secret } };
}

/** Copies a snapshot to the storage. @throws {Failure} as `openCopies`, and where it can't be copied, unless that is to be a warning. */
export async function copySnapshot(
  context: DeployContext,
  snapshot: { file: string; sha256: string },
  signal: AbortSignal,
): Promise<StepResult<"copy">> {
  const { settings, output } = context;
  const { storage, secrets } = await storageOf(context);
  const { endpoint, region, bucket, prefix, failure } = storage;
  return runHostStep(
    "copy",
    { backupLocation: settings.backupLocation, ...snapshot, endpoint, region, bucket, prefix, failure },
    { settings, secrets, output, signal },
  );
}

/** @throws {Failure} where no storage is set, or the stack does not know its credentials yet. */
export async function openCopies(context: DeployContext): Promise<Copies> {
  const { settings, output } = context;
  const { storage, secrets } = await storageOf(context);
  const { endpoint, region, bucket, prefix } = storage;
  const step = (file: string | null): Promise<StepResult<"fetch">> =>
    runHostStep(
      "fetch",
      { backupLocation: settings.backupLocation, endpoint, region, bucket, prefix, file },
      { settings, secrets, output },
    );
  return {
    async list(all) {
      const manifests = (await step(null)).copies.flatMap((copy) => manifestSchema.safeParse(copy).data ?? []);
      return withIds(
        manifests.map((manifest) => ({ file: manifest.file, bytes: manifest.bytes, manifest })),
        settings,
        all,
      );
    },
    fetch: ({ file }) => step(file),
  };
}
