import * as pulumi from "@pulumi/pulumi";
import type { DeploymentFile } from "../config/schema/deployment-file.ts";
import type { StepResult } from "../ops/contract/steps.ts";
import type { HostContext } from "./host.ts";
import type { Snapshot } from "./snapshot.ts";
import { declareStep } from "./step.ts";

export interface SnapshotCopyArgs {
  context: HostContext;
  networkName: pulumi.Input<string>;
  snapshot: Snapshot;
  /** The storage. */
  to: NonNullable<DeploymentFile["database"]["snapshot_copy"]>;
  /** Of the storage. Secret. */
  credentials: { keyId: pulumi.Output<string>; secret: pulumi.Output<string> };
}

/** A copy of a snapshot in an S3-compatible storage, for the day on which the Docker host is gone. Nothing here removes it. */
export class SnapshotCopy extends pulumi.ComponentResource {
  readonly result: pulumi.Output<StepResult<"copy">>;

  constructor(name: string, args: SnapshotCopyArgs, opts?: pulumi.ComponentResourceOptions) {
    super("togather:deployment:SnapshotCopy", name, {}, opts);
    const { endpoint, region, bucket, prefix, failure } = args.to;
    const step = declareStep(
      `${name}-upload`,
      "copy",
      {
        ...args.context.common,
        ...args.context.directories,
        network: args.networkName,
        ...args.snapshot.taken,
        ...{ endpoint, region, bucket, prefix, failure },
      },
      {
        ...args.context.step,
        secrets: { SNAPSHOT_COPY_KEY_ID: args.credentials.keyId, SNAPSHOT_COPY_SECRET: args.credentials.secret },
      },
      { parent: this, dependsOn: opts?.dependsOn },
    );
    this.result = step.result;
    this.registerOutputs({ copied: this.result.apply(({ copied }) => copied) });
  }
}
