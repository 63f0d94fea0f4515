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

/** @throws {Failure} where no storage is configured, or the stack does not have its credentials yet. */
export async function openCopies({ file: { stack }, settings, pulumi, output }: DeployContext): Promise<Copies> {
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
  const { endpoint, region, bucket, prefix } = settings.snapshotCopy;
  const step = (file: string | null): Promise<StepResult<"fetch">> =>
    runHostStep(
      "fetch",
      { backupLocation: settings.backupLocation, endpoint, region, bucket, prefix, file },
      { settings, secrets: { SNAPSHOT_COPY_KEY_ID: keyId, SNAPSHOT_COPY_SECRET: secret }, output },
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
