/** The copies of snapshots in a storage, and the way back from there to the Docker host. */
import { manifestSchema } from "../../ops/snapshots.ts";
import type { StepResult } from "../../ops/contract.ts";
import type { DeployContext } from "../context.ts";
import { Failure } from "../failure.ts";
import { invocation } from "../output.ts";
import { withIds, type ListedSnapshot } from "./catalog.ts";
import { runHostStep } from "./host-step.ts";

/** @param file null: only says what there is. @throws {Failure} where no storage is set, or the stack does not know its credentials yet. */
async function fetchStep({ file: stackFile, settings, pulumi, output }: DeployContext, file: string | null): Promise<StepResult<"fetch">> {
  if (settings.snapshotCopy === null) throw new Failure("config", "snapshots of this deployment are copied nowhere: database.snapshot_copy is not set", "set it: docs/operations.md, Copies elsewhere");
  const { snapshotCopyKeyId: keyId, snapshotCopySecret: secret } = await pulumi.secretOutputs();
  if (keyId === undefined || secret === undefined) throw new Failure("config", `the stack ${stackFile.stack} was not deployed with database.snapshot_copy yet, so that it has no credentials of the storage`, invocation(`up --stack ${stackFile.stack}`));
  const { endpoint, region, bucket, prefix } = settings.snapshotCopy;
  return runHostStep("fetch", { backupLocation: settings.backupLocation, endpoint, region, bucket, prefix, file }, { settings, secrets: { SNAPSHOT_COPY_KEY_ID: keyId, SNAPSHOT_COPY_SECRET: secret }, output });
}

/** A deployment's copies, the newest first; or those of all deployments in the same place. */
export async function listCopies(context: DeployContext, all: boolean): Promise<ListedSnapshot[]> {
  const { copies } = await fetchStep(context, null);
  const manifests = copies.flatMap((copy) => manifestSchema.safeParse(copy).data ?? []);
  return withIds(manifests.map((manifest) => ({ file: manifest.file, bytes: manifest.bytes, manifest })), context.settings, all);
}

/** Brings a copy back to where snapshots are. */
export function fetchCopy(context: DeployContext, { file }: ListedSnapshot): Promise<StepResult<"fetch">> {
  return fetchStep(context, file);
}
