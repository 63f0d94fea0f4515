import * as pulumi from "@pulumi/pulumi";
import type { SlotRelease } from "../config/load.ts";
import { migrationSource } from "../config/migration-source.ts";
import type { StackSettings } from "../config/stack-settings.ts";
import type { StepRequest, StepResult } from "../ops/contract.ts";
import type { HostContext } from "./host.ts";
import { migrationLimits, waiversOf } from "./migration.ts";
import { plainRelease } from "./releases.ts";
import { restoreSecrets, type RestoreArgs, type Snapshot } from "./snapshot.ts";
import { declareStep } from "./step.ts";

export interface RehearsalArgs extends RestoreArgs {
  context: HostContext;
  networkName: pulumi.Input<string>;
  snapshot: Snapshot;
  release: SlotRelease;
  source: StackSettings["source"];
  /** What the lint of migrations lets through. */
  allow: StackSettings["migrations"]["allow"];
  /** The snapshot is proved also where no migration is pending. */
  verify: boolean;
  /** A server that doesn't allow a scratch database is an error; otherwise a warning. */
  required: boolean;
  /** How the release that serves is asked on the migrated copy; null to leave it out. */
  serving: StepRequest<"rehearse">["serving"];
}

/**
 * The pending migrations, run on a scratch restore of the snapshot, and the release that serves asked whether it still works
 * there: before they touch the data. Proves the snapshot as a `Verification` does.
 */
export class Rehearsal extends pulumi.ComponentResource {
  readonly result: pulumi.Output<StepResult<"rehearse">>;

  constructor(name: string, args: RehearsalArgs, opts?: pulumi.ComponentResourceOptions) {
    super("togather:deployment:Rehearsal", name, {}, opts);
    const step = declareStep(
      `${name}-run`,
      "rehearse",
      {
        ...args.context.common,
        ...args.context.directories,
        network: args.networkName,
        ...args.snapshot.taken,
        release: plainRelease(args.release),
        source: migrationSource(args.release, args.source),
        river: args.source.river,
        ...(args.source.riverVersion === null ? {} : { riverVersion: args.source.riverVersion }),
        ...migrationLimits,
        // It knows of no other rule: that the rest is edited is no reason to restore a snapshot once more.
        ...waiversOf(args.allow.filter(({ rule }) => rule === "out-of-order")),
        verify: args.verify,
        required: args.required,
        serving: args.serving,
      },
      { ...args.context.step, secrets: restoreSecrets(args) },
      { parent: this, dependsOn: opts?.dependsOn },
    );
    this.result = step.result;
    this.registerOutputs({ files: this.result.apply(({ files }) => files), serving: this.result.apply(({ serving }) => serving) });
  }
}
