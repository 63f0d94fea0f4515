import * as pulumi from "@pulumi/pulumi";
import type { SlotRelease } from "../config/load.ts";
import type { StepResult } from "../ops/contract.ts";
import type { SnapshotFormat } from "../ops/snapshot-format.ts";
import type { HostContext } from "./host.ts";
import { plainRelease } from "./releases.ts";
import { declareStep } from "./step.ts";

export interface SnapshotArgs {
  context: HostContext;
  networkName: pulumi.Input<string>;
  /** DATABASE_URL of the owner role. Secret. */
  databaseUrl: pulumi.Output<string>;
  /** Directory on the Docker host. */
  backupLocation: string;
  /** How many snapshots stay. */
  retention: number;
  /** How many verified ones stay, however old they are. */
  keepVerified: number;
  format: SnapshotFormat;
  /** Whom it is encrypted for. */
  recipients: string[];
  /** The release before whose migrations it is taken. */
  release: SlotRelease;
}

/** A copy of the database before a release's migrations. Nothing here deletes it; `ops` expires old ones after a success. */
export class Snapshot extends pulumi.ComponentResource {
  readonly result: pulumi.Output<StepResult<"snapshot">>;

  constructor(name: string, args: SnapshotArgs, opts?: pulumi.ComponentResourceOptions) {
    super("togather:deployment:Snapshot", name, {}, opts);
    const step = declareStep(
      `${name}-dump`,
      "snapshot",
      {
        ...args.context.common,
        ...args.context.directories,
        network: args.networkName,
        backupLocation: args.backupLocation,
        retention: args.retention,
        keepVerified: args.keepVerified,
        format: args.format,
        recipients: args.recipients,
        release: plainRelease(args.release),
      },
      { ...args.context.step, secrets: { DATABASE_URL: args.databaseUrl } },
      { parent: this, dependsOn: opts?.dependsOn },
    );
    this.result = step.result;
    this.registerOutputs({ file: this.result.apply(({ file }) => file) });
  }
}
