import * as pulumi from "@pulumi/pulumi";
import type { SlotName, StandbyMode, StepResult } from "../ops/contract/steps.ts";
import type { HostContext } from "./host.ts";
import { plainRelease, type SlotRelease } from "../config/release.ts";
import type { Slot } from "./slot.ts";
import { declareStep } from "./step.ts";

export interface StandbyArgs {
  context: HostContext;
  /** What becomes of the slot that does not serve. */
  mode: StandbyMode;
  /** The slot that does not serve, what it holds, and its container. */
  idle: { slot: SlotName; release: SlotRelease | undefined; containerId: pulumi.Output<string> | undefined };
  /** How long its open requests are waited for, in ms. */
  drainMs: number;
  /** How the router is, where it was not on the slot that is to serve. */
  found: string | undefined;
}

/** The slot that does not serve, brought to what it is to be once the deployment is recorded: kept running, or drained and stopped. */
export class Standby extends pulumi.ComponentResource {
  readonly result: pulumi.Output<StepResult<"standby">>;

  constructor(name: string, args: StandbyArgs, opts?: pulumi.ComponentResourceOptions) {
    super("togather:deployment:Standby", name, {}, opts);
    const { context, mode, idle, drainMs, found } = args;
    const stopped = {
      slot: idle.slot,
      release: idle.release === undefined ? null : plainRelease(idle.release),
      containerId: idle.containerId ?? null,
    };
    const request = { ...context.common, mode, idle: mode === "running" ? null : pulumi.output(stopped), drainMs };
    const step = declareStep(
      `${name}-slot`,
      "standby",
      request,
      mode === "running" ? context.step : { ...context.step, found },
      { parent: this, dependsOn: opts?.dependsOn },
    );
    this.result = step.result;
    this.registerOutputs({ stopped: this.result.apply(({ stopped }) => stopped) });
  }
}

export interface WakingArgs {
  /** The slot that is to serve. */
  slot: Slot;
}

/** The slot that is to serve, started if it was stopped, and gated again before any request reaches it. */
export class Waking extends pulumi.ComponentResource {
  constructor(name: string, { slot }: WakingArgs, opts?: pulumi.ComponentResourceOptions) {
    super("togather:deployment:Waking", name, {}, opts);
    const { request, environment } = slot.gateStep;
    const step = declareStep(`${name}-gate`, "gate", { ...request, whenStopped: "start" }, environment, {
      parent: this,
      dependsOn: [slot],
    });
    this.registerOutputs({ attempts: step.result.apply(({ attempts }) => attempts) });
  }
}
