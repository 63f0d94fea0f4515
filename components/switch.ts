import * as pulumi from "@pulumi/pulumi";
import type { EndpointCheck, Rollout, SlotName, StepRequest, StepResult } from "../ops/contract/steps.ts";
import type { HostContext } from "./host.ts";
import { plainRelease, type SlotRelease } from "../config/release.ts";
import type { Router } from "./router.ts";
import { declareStep } from "./step.ts";

export interface SwitchArgs {
  context: HostContext;
  networkName: pulumi.Input<string>;
  router: Router;
  activeSlot: SlotName;
  /** The release in the active slot. */
  release: SlotRelease;
  /** The active slot's address, host:port. */
  slotAddress: string;
  healthPath: string;
  /** Asked through the router after the switch. */
  checks: EndpointCheck[];
  /** How traffic moves to a new release. */
  rollout: Rollout;
  /** Run once it serves; undefined for none. */
  tasks: StepRequest<"switch">["tasks"];
  /** How the router is, where it is not on the active slot. */
  found: string | undefined;
}

/** Which slot serves: one atomic write, confirmed through the router; undone when it can't be confirmed, or when the release does not hold up. */
export class Switch extends pulumi.ComponentResource {
  readonly result: pulumi.Output<StepResult<"switch">>;

  constructor(name: string, args: SwitchArgs, opts?: pulumi.ComponentResourceOptions) {
    super("togather:deployment:Switch", name, {}, opts);
    const { common, directories, step } = args.context;
    const change = declareStep(
      `${name}-traffic`,
      "switch",
      {
        ...common,
        ...directories,
        network: args.networkName,
        activeSlot: args.activeSlot,
        release: plainRelease(args.release),
        volume: args.router.volumeName,
        routerContainerId: args.router.containerId,
        slotUrl: `http://${args.slotAddress}`,
        routerUrl: args.router.url,
        healthPath: args.healthPath,
        checks: args.checks,
        rollout: args.rollout,
        ...(args.tasks === undefined ? {} : { tasks: args.tasks }),
      },
      { ...step, found: args.found },
      { parent: this, dependsOn: opts?.dependsOn },
    );
    this.result = change.result;
    this.registerOutputs({ activeSlot: this.result.apply(({ to }) => to) });
  }
}
