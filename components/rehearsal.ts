import * as pulumi from "@pulumi/pulumi";
import { migrationSource } from "../config/migration-source.ts";
import type { StackSettings } from "../config/schema/stack-settings.ts";
import { megabytes } from "../config/schema/memory-size.ts";
import { SERVER_ENVIRONMENT, type StepRequest, type StepResult, type Task } from "../ops/contract/steps.ts";
import type { HostContext } from "./host.ts";
import { migrationLimits, waiversOf } from "./migration.ts";
import { plainRelease, type SlotRelease } from "../config/release.ts";
import { serverTmpfs } from "./slot.ts";
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
  /** Tasks that are run on the copy, and what their server will be like; undefined for none. */
  tasks: RehearsedTasks | undefined;
}

export interface RehearsedTasks {
  list: Task[];
  imageId: pulumi.Input<string>;
  networks: pulumi.Input<string>[];
  knowsHost: boolean;
  container: StackSettings["source"]["container"];
  /** Plain environment of the server. */
  environment: Record<string, string>;
  /** Secret environment of the server. */
  secrets: Record<string, pulumi.Output<string>>;
}

/** As the step takes them: the environment apart, since it has secrets. */
function withTasks(tasks: RehearsedTasks | undefined): {
  request: { tasks?: pulumi.Input<NonNullable<StepRequest<"rehearse">["tasks"]>> };
  secrets: Record<string, pulumi.Input<string>>;
} {
  if (tasks === undefined) return { request: {}, secrets: {} };
  const { list, imageId: image, networks, knowsHost, container, environment, secrets } = tasks;
  return {
    request: {
      tasks: pulumi.output({
        list,
        image,
        networks,
        tmpfs: serverTmpfs(container),
        shmSize: container.shmSize === undefined ? 0 : megabytes(container.shmSize) * 1024 * 1024,
        extraHosts: knowsHost ? ["host.docker.internal:host-gateway"] : [],
      }),
    },
    secrets: {
      [SERVER_ENVIRONMENT]: pulumi.jsonStringify({ ...environment, ...secrets }),
      SERVER_SECRETS: pulumi.jsonStringify(Object.values(secrets)),
    },
  };
}

/**
 * The pending migrations, run on a scratch restore of the snapshot, and the release that serves asked whether it still works
 * there: before they touch the data. Proves the snapshot as a `Verification` does.
 */
export class Rehearsal extends pulumi.ComponentResource {
  readonly result: pulumi.Output<StepResult<"rehearse">>;

  constructor(name: string, args: RehearsalArgs, opts?: pulumi.ComponentResourceOptions) {
    super("togather:deployment:Rehearsal", name, {}, opts);
    const tasks = withTasks(args.tasks);
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
        ...tasks.request,
      },
      { ...args.context.step, secrets: { ...restoreSecrets(args), ...tasks.secrets } },
      { parent: this, dependsOn: opts?.dependsOn },
    );
    this.result = step.result;
    this.registerOutputs({
      files: this.result.apply(({ files }) => files),
      serving: this.result.apply(({ serving }) => serving),
    });
  }
}
