import * as pulumi from "@pulumi/pulumi";
import type { SlotName, StepResult, Task as Command } from "../ops/contract/steps.ts";
import type { HostContext } from "./host.ts";
import { plainRelease, type SlotRelease } from "../config/release.ts";
import type { Router } from "./router.ts";
import { declareStep } from "./step.ts";

export interface TaskArgs {
  context: HostContext;
  /** From `begin`: another deployment runs it again. */
  deploymentId: pulumi.Input<string>;
  router: Router;
  /** The slot that is to serve: the task's container is made like its own. */
  slot: SlotName;
  release: SlotRelease;
  task: Command;
}

/** A command of the operator's in a one-off container of the new release, before the switch. One that fails stops the deployment. */
export class Task extends pulumi.ComponentResource {
  readonly result: pulumi.Output<StepResult<"task">>;

  constructor(
    name: string,
    { context, deploymentId, router, slot, release, task }: TaskArgs,
    opts?: pulumi.ComponentResourceOptions,
  ) {
    super("togather:deployment:Task", name, {}, opts);
    const step = declareStep(
      `${name}-run`,
      "task",
      {
        ...context.common,
        ...context.directories,
        deploymentId,
        slot,
        release: plainRelease(release),
        volume: router.volumeName,
        task,
      },
      context.step,
      { parent: this, dependsOn: opts?.dependsOn },
    );
    this.result = step.result;
    this.registerOutputs({ skipped: this.result.apply(({ skipped }) => skipped) });
  }
}
