import * as pulumi from "@pulumi/pulumi";
import type { StepResult } from "../ops/contract.ts";
import type { HostContext } from "./host.ts";
import type { Snapshot } from "./snapshot.ts";
import { declareStep } from "./step.ts";

export interface VerificationArgs {
  context: HostContext;
  networkName: pulumi.Input<string>;
  /** DATABASE_URL of the owner role. Secret. */
  databaseUrl: pulumi.Output<string>;
  /** URL of a role that may make databases and extensions; the owner does it itself where there is none. Secret. */
  databaseAdminUrl: pulumi.Output<string> | undefined;
  /** Secret key of age that reads an encrypted snapshot. Secret. */
  identity: string | undefined;
  /** Directory on the Docker host. */
  backupLocation: string;
  snapshot: Snapshot;
  /** A server that doesn't allow it is an error; otherwise a warning. */
  required: boolean;
}

/** The proof of a snapshot: restored into a scratch database on the same server, and compared with its manifest. */
export class Verification extends pulumi.ComponentResource {
  readonly result: pulumi.Output<StepResult<"verify">>;

  constructor(name: string, args: VerificationArgs, opts?: pulumi.ComponentResourceOptions) {
    super("togather:deployment:Verification", name, {}, opts);
    const { result: taken } = args.snapshot;
    const step = declareStep(
      `${name}-restore`,
      "verify",
      {
        ...args.context.common,
        ...args.context.directories,
        network: args.networkName,
        backupLocation: args.backupLocation,
        file: taken.apply(({ file }) => file.slice(file.lastIndexOf("/") + 1)),
        foreign: false,
        sha256: taken.apply(({ sha256 }) => sha256),
        required: args.required,
      },
      {
        ...args.context.step,
        secrets: { DATABASE_URL: args.databaseUrl, ...(args.databaseAdminUrl === undefined ? {} : { DATABASE_ADMIN_URL: args.databaseAdminUrl }), ...(args.identity === undefined ? {} : { SNAPSHOT_IDENTITY: args.identity }) },
      },
      { parent: this, dependsOn: opts?.dependsOn },
    );
    this.result = step.result;
    this.registerOutputs({ verified: this.result.apply(({ verified }) => verified) });
  }
}
