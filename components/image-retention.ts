import * as pulumi from "@pulumi/pulumi";
import type { SlotRelease } from "../config/release.ts";
import { serverImageTag, type BundledImage } from "./image.ts";
import type { HostContext } from "./host.ts";
import { declareStep } from "./step.ts";

export interface ImageRetentionArgs {
  context: HostContext;
  /** What both slots hold. */
  releases: SlotRelease[];
  /** This project's own images that no container holds on to, or may not yet. */
  bundled: BundledImage[];
  /** How many images of earlier releases stay beside those. */
  retention: number;
}

/** Images of earlier releases go once a deployment is over. A flip changes nothing here. */
export class ImageRetention extends pulumi.ComponentResource {
  constructor(name: string, args: ImageRetentionArgs, opts?: pulumi.ComponentResourceOptions) {
    super("togather:deployment:ImageRetention", name, {}, opts);
    const { context, releases, bundled, retention } = args;
    const keep = [...releases.map(serverImageTag), ...bundled.map(({ tag }) => tag)];
    const step = declareStep(`${name}-prune`, "prune", { ...context.common, keep, retention }, context.step, {
      parent: this,
      dependsOn: opts?.dependsOn,
    });
    this.registerOutputs({ removed: step.result.apply(({ removed }) => removed) });
  }
}
