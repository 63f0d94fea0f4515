import * as pulumi from "@pulumi/pulumi";
import type { StepResult } from "../ops/contract/steps.ts";
import type { SnapshotFormat } from "../ops/contract/snapshot-format.ts";
import type { HostContext } from "./host.ts";
import { plainRelease, type SlotRelease } from "../config/release.ts";
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
  /** By which other steps find the one that was taken. */
  readonly taken: { backupLocation: string; file: pulumi.Output<string>; sha256: pulumi.Output<string> };

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
    this.taken = {
      backupLocation: args.backupLocation,
      file: this.result.apply(({ file }) => file.slice(file.lastIndexOf("/") + 1)),
      sha256: this.result.apply(({ sha256 }) => sha256),
    };
    this.registerOutputs({ file: this.result.apply(({ file }) => file) });
  }
}

/** What a step needs that restores a snapshot beside the database. */
export interface RestoreArgs {
  /** DATABASE_URL of the owner role. Secret. */
  databaseUrl: pulumi.Output<string>;
  /** URL of a role that may make databases and extensions; the owner does it itself where there is none. Secret. */
  databaseAdminUrl: pulumi.Output<string> | undefined;
  /** Secret key of age that reads an encrypted snapshot. Secret. */
  identity: pulumi.Output<string> | undefined;
}

/** The same as the step's secrets. */
export function restoreSecrets({
  databaseUrl,
  databaseAdminUrl,
  identity,
}: RestoreArgs): Record<string, pulumi.Input<string>> {
  return {
    DATABASE_URL: databaseUrl,
    ...(databaseAdminUrl === undefined ? {} : { DATABASE_ADMIN_URL: databaseAdminUrl }),
    ...(identity === undefined ? {} : { SNAPSHOT_IDENTITY: identity }),
  };
}
