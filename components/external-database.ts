import * as pulumi from "@pulumi/pulumi";
import type { StepRequest, StepResult } from "../ops/contract/steps.ts";
import type { DatabaseUrls } from "./database.ts";
import type { HostContext } from "./host.ts";
import { plainRelease, type SlotRelease } from "../config/release.ts";
import { declareStep } from "./step.ts";

/** A database that somebody else runs: nothing of it belongs to this stack, and nothing of it ends with this stack. */
export function externalDatabase({
  url,
  migrationUrl,
  adminUrl,
}: {
  url: pulumi.Output<string>;
  migrationUrl: pulumi.Output<string>;
  adminUrl: pulumi.Output<string> | undefined;
}): DatabaseUrls {
  return {
    ownerUrl: migrationUrl,
    appUrl: url,
    adminUrl,
  };
}

export interface DatabaseCheckArgs {
  context: HostContext;
  /** A network from which the database can be reached. */
  networkName: pulumi.Input<string>;
  /** DATABASE_URL of the role that migrates. Secret. */
  databaseUrl: pulumi.Output<string>;
  /** DATABASE_URL of the server. Secret. */
  appUrl: pulumi.Output<string>;
  /** The release that is to use it: each one checks again. */
  release: SlotRelease;
  /** Extensions that have to be there. */
  extensions: string[];
  /** What a SUPERUSER as the server's role does. */
  superuser: StepRequest<"database">["superuser"];
}

/** A look at an external database before a release touches it. */
export class DatabaseCheck extends pulumi.ComponentResource {
  readonly result: pulumi.Output<StepResult<"database">>;

  constructor(name: string, args: DatabaseCheckArgs, opts?: pulumi.ComponentResourceOptions) {
    super("togather:deployment:DatabaseCheck", name, {}, opts);
    const step = declareStep(
      `${name}-check`,
      "database",
      {
        ...args.context.common,
        ...args.context.directories,
        network: args.networkName,
        release: plainRelease(args.release),
        extensions: args.extensions,
        superuser: args.superuser,
      },
      { ...args.context.step, secrets: { DATABASE_URL: args.appUrl, MIGRATION_DATABASE_URL: args.databaseUrl } },
      { parent: this, dependsOn: opts?.dependsOn },
    );
    this.result = step.result;
    this.registerOutputs({ serverVersion: this.result.apply(({ serverVersion }) => serverVersion) });
  }
}
