import * as pulumi from "@pulumi/pulumi";
import type { StepResult } from "../ops/contract/steps.ts";
import type { HostContext } from "./host.ts";
import { restoreSecrets, type RestoreArgs, type Snapshot } from "./snapshot.ts";
import { declareStep } from "./step.ts";

export interface VerificationArgs extends RestoreArgs {
  context: HostContext;
  networkName: pulumi.Input<string>;
  snapshot: Snapshot;
  /** A server that doesn't allow it is an error; otherwise a warning. */
  required: boolean;
}

/** The proof of a snapshot: restored into a scratch database on the same server, and compared with its manifest. */
export class Verification extends pulumi.ComponentResource {
  readonly result: pulumi.Output<StepResult<"verify">>;

  constructor(name: string, args: VerificationArgs, opts?: pulumi.ComponentResourceOptions) {
    super("togather:deployment:Verification", name, {}, opts);
    const { backupLocation, file, sha256 } = args.snapshot.taken;
    const step = declareStep(
      `${name}-restore`,
      "verify",
      {
        ...args.context.common,
        ...args.context.directories,
        network: args.networkName,
        backupLocation,
        file,
        foreign: false,
        sha256,
        required: args.required,
      },
      { ...args.context.step, secrets: restoreSecrets(args) },
      { parent: this, dependsOn: opts?.dependsOn },
    );
    this.result = step.result;
    this.registerOutputs({ verified: this.result.apply(({ verified }) => verified) });
  }
}
