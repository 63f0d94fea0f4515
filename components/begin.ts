import * as pulumi from "@pulumi/pulumi";
import type { SlotName } from "../ops/contract/steps.ts";
import type { HostContext } from "./host.ts";
import { plainReleases, type SlotRelease } from "../config/release.ts";
import { declareStep } from "./step.ts";

export interface BeginArgs {
  context: HostContext;
  activeSlot: SlotName;
  slots: Partial<Record<SlotName, SlotRelease>>;
  /** Of the operator's own, program and arguments, for when the deployment fails or is sent back. */
  failureCommand?: string[] | undefined;
}

/** Opens a deployment in the history before anything is touched: a failed one leaves a trace too. */
export class Begin extends pulumi.ComponentResource {
  readonly deploymentId: pulumi.Output<string>;

  constructor(name: string, args: BeginArgs, opts?: pulumi.ComponentResourceOptions) {
    super("togather:deployment:Begin", name, {}, opts);
    const { context, activeSlot, slots, failureCommand } = args;
    const step = declareStep(
      `${name}-entry`,
      "begin",
      {
        ...context.common,
        ...context.directories,
        activeSlot,
        slots: plainReleases(slots),
        ...(failureCommand === undefined ? {} : { failureCommand }),
      },
      context.step,
      { parent: this, dependsOn: opts?.dependsOn },
    );
    this.deploymentId = step.result.apply(({ deploymentId }) => deploymentId);
    this.registerOutputs({ deploymentId: this.deploymentId });
  }
}
