import * as pulumi from "@pulumi/pulumi";
import type { StepResult } from "../ops/contract/steps.ts";
import type { BeginArgs } from "./begin.ts";
import { plainRelease, plainReleases, type SlotRelease } from "../config/release.ts";
import { declareStep } from "./step.ts";

export interface DeploymentRecordArgs extends BeginArgs {
  /** The release that serves now. */
  release: SlotRelease;
  deploymentId: pulumi.Input<string>;
  /** How many logs of this deployment stay. */
  logRetention: number;
}

/** Closes the deployment: deployment-state.json, the history's entry, SUCCESS in the log. */
export class DeploymentRecord extends pulumi.ComponentResource {
  readonly result: pulumi.Output<StepResult<"record">>;

  constructor(name: string, args: DeploymentRecordArgs, opts?: pulumi.ComponentResourceOptions) {
    super("togather:deployment:Record", name, {}, opts);
    const { context, activeSlot, slots, release, deploymentId, logRetention } = args;
    const step = declareStep(
      `${name}-entry`,
      "record",
      {
        ...context.common,
        ...context.directories,
        deploymentId,
        activeSlot,
        release: plainRelease(release),
        slots: plainReleases(slots),
        logRetention,
      },
      context.step,
      { parent: this, dependsOn: opts?.dependsOn },
    );
    this.result = step.result;
    this.registerOutputs({ file: this.result.apply(({ file }) => file) });
  }
}
