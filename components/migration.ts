import * as pulumi from "@pulumi/pulumi";
import { migrationSource } from "../config/migration-source.ts";
import type { StackSettings } from "../config/schema/stack-settings.ts";
import type { StepRequest, StepResult } from "../ops/contract/steps.ts";
import type { HostContext } from "./host.ts";
import { plainRelease, type SlotRelease } from "../config/release.ts";
import { declareStep } from "./step.ts";

export interface MigrationArgs {
  context: HostContext;
  networkName: pulumi.Input<string>;
  /** DATABASE_URL of the owner role. Secret. */
  databaseUrl: pulumi.Output<string>;
  release: SlotRelease;
  source: StackSettings["source"];
  /** What the lint of new migrations does. */
  lint: StepRequest<"migrate">["lint"];
  /** What it lets through. */
  allow: StackSettings["migrations"]["allow"];
}

/** A request without any is that of a stack file without any: it is not run again. */
export const waiversOf = (
  allow: StackSettings["migrations"]["allow"],
): { waivers?: StackSettings["migrations"]["allow"] } => (allow.length === 0 ? {} : { waivers: allow });

/**
 * How long a statement waits for a lock that the live server holds, and how long it runs at most, in ms. Everything that comes after
 * a waiting statement waits behind it, so that the first is how long the live server may be held up.
 */
export const migrationLimits = { lockTimeoutMs: 1_000, statementTimeoutMs: 15 * 60_000 } as const;
/** A minute of attempts, with a pause of 2 s after each. */
const lockAttempts = 20;

/** The schema brought to what a release needs, from the release's own files. Going back is a restore, not a delete. */
export class Migration extends pulumi.ComponentResource {
  readonly result: pulumi.Output<StepResult<"migrate">>;

  constructor(name: string, args: MigrationArgs, opts?: pulumi.ComponentResourceOptions) {
    super("togather:deployment:Migration", name, {}, opts);
    const step = declareStep(
      `${name}-up`,
      "migrate",
      {
        ...args.context.common,
        ...args.context.directories,
        network: args.networkName,
        release: plainRelease(args.release),
        source: migrationSource(args.release, args.source),
        river: args.source.river,
        ...(args.source.riverVersion === null ? {} : { riverVersion: args.source.riverVersion }),
        lint: args.lint,
        ...waiversOf(args.allow),
        ...migrationLimits,
        lockAttempts,
      },
      { ...args.context.step, secrets: { DATABASE_URL: args.databaseUrl } },
      { parent: this, dependsOn: opts?.dependsOn },
    );
    this.result = step.result;
    this.registerOutputs({ version: this.result.apply(({ to }) => to) });
  }
}
