import * as pulumi from "@pulumi/pulumi";
import type { DatabaseUrls } from "../components/database.ts";
import type { Router } from "../components/router.ts";
import { serverTmpfs, type Slot } from "../components/slot.ts";
import type { StepComponent, StepInputs } from "../components/step.ts";
import { migrationSource } from "../config/migration-source.ts";
import { postSwitchChecks } from "../config/post-switch.ts";
import { plainRelease, type SlotRelease } from "../config/release.ts";
import { milliseconds } from "../config/schema/duration.ts";
import { megabytes } from "../config/schema/memory-size.ts";
import { rolloutOf } from "../config/schema/rollout.ts";
import { snapshotRules } from "../config/schema/snapshot-rules.ts";
import type { StackSettings } from "../config/schema/stack-settings.ts";
import { tasksAfter } from "../config/schema/tasks.ts";
import type { Settings } from "../config/settings.ts";
import { SERVER_ENVIRONMENT, type Release, type SlotName, type Task } from "../ops/contract/steps.ts";
import { secretOutputOf } from "./secret-output.ts";

/** The release whose data a step works with, and the database's network. */
export interface DataStep {
  network: pulumi.Input<string>;
  release: SlotRelease;
}

type Allowed = StackSettings["migrations"]["allow"];

/**
 * An empty list is left out: the request is then the same as before the setting existed, and the step does not run
 * again.
 */
const waiversOf = (allow: Allowed): { waivers?: Allowed } => (allow.length === 0 ? {} : { waivers: allow });

/**
 * Limits of a statement in ms: its wait for a lock that the live server holds, and its run time. Every later statement
 * waits behind a waiting one, so that the first limit is the longest time for which the live server may be blocked.
 */
const migrationLimits = { lockTimeoutMs: 1_000, statementTimeoutMs: 15 * 60_000 } as const;
/** A minute of attempts, with a pause of 2 s after each. */
const lockAttempts = 20;

/** The migrations of a release. */
const migrationsOf = (
  { source }: Settings,
  release: SlotRelease,
): Pick<StepInputs<"migrate">, "release" | "source" | "river" | "riverVersion"> => ({
  release: plainRelease(release),
  source: migrationSource(release, source),
  river: source.river,
  ...(source.riverVersion === null ? {} : { riverVersion: source.riverVersion }),
});

/** The request to migrate the schema to what a release needs, with the release's own files. */
export function migrateRequest(settings: Settings, { network, release }: DataStep): StepInputs<"migrate"> {
  return {
    network,
    ...migrationsOf(settings, release),
    lint: settings.rules.migrationLint,
    ...waiversOf(settings.migrations.allow),
    ...migrationLimits,
    lockAttempts,
  };
}

/** The request for a snapshot before a release's migrations. `ops` removes old ones after a success. */
export function snapshotRequest({ deployment }: Settings, { network, release }: DataStep): StepInputs<"snapshot"> {
  const { database } = deployment;
  return {
    network,
    backupLocation: database.backup_location,
    retention: database.snapshot_retention,
    keepVerified: database.snapshot_keep_verified,
    format: database.snapshot_format,
    recipients: database.snapshot_recipients,
    release: plainRelease(release),
  };
}

/** Identifies a snapshot for other steps. */
export interface Taken {
  backupLocation: string;
  /** Name of the file. */
  file: pulumi.Output<string>;
  sha256: pulumi.Output<string>;
}

/** The snapshot that was taken. */
export function takenBy({ deployment }: Settings, { result }: StepComponent<"snapshot">): Taken {
  return {
    backupLocation: deployment.database.backup_location,
    file: result.apply(({ file }) => file.slice(file.lastIndexOf("/") + 1)),
    sha256: result.apply(({ sha256 }) => sha256),
  };
}

/** Secrets of a step that restores a snapshot beside the database. */
export function restoreSecrets(settings: Settings, database: DatabaseUrls): Record<string, pulumi.Input<string>> {
  // Only with encryption: a step gets no secret that it doesn't need.
  const encrypted = settings.deployment.database.snapshot_recipients.length > 0;
  const identity = encrypted ? secretOutputOf(settings.snapshotIdentity) : undefined;
  return {
    DATABASE_URL: database.ownerUrl,
    ...(database.adminUrl === undefined ? {} : { DATABASE_ADMIN_URL: database.adminUrl }),
    ...(identity === undefined ? {} : { SNAPSHOT_IDENTITY: identity }),
  };
}

/** Tasks for a rehearsal on the copy of the data, and their server's settings. */
export interface RehearsedTasks {
  list: Task[];
  imageId: pulumi.Input<string>;
  networks: pulumi.Input<string>[];
  /** Plain environment of the server. */
  environment: Record<string, string>;
  /** Secret environment of the server. */
  secrets: Record<string, pulumi.Output<string>>;
}

/**
 * Secrets of a rehearsal that runs tasks: their server's environment, which contains secrets and is therefore no part
 * of the request.
 */
export function taskSecrets(tasks: RehearsedTasks | undefined): Record<string, pulumi.Input<string>> {
  if (tasks === undefined) return {};
  return {
    [SERVER_ENVIRONMENT]: pulumi.jsonStringify({ ...tasks.environment, ...tasks.secrets }),
    SERVER_SECRETS: pulumi.jsonStringify(Object.values(tasks.secrets)),
  };
}

/** The parts of a task's container. */
function taskParts(
  { source: { container }, database }: Settings,
  { list, imageId: image, networks }: RehearsedTasks,
): NonNullable<StepInputs<"rehearse">["tasks"]> {
  return pulumi.output({
    list,
    image,
    networks,
    tmpfs: serverTmpfs(container),
    shmSize: container.shmSize === undefined ? 0 : megabytes(container.shmSize) * 1024 * 1024,
    extraHosts: database.mode === "external" ? ["host.docker.internal:host-gateway"] : [],
  });
}

/**
 * The request to run pending migrations on a scratch restore of the snapshot before they touch the data, and to check
 * there that the release that serves still works. It proves the snapshot too.
 */
export function rehearseRequest(
  settings: Settings,
  { network, release }: DataStep,
  taken: Taken,
  tasks: RehearsedTasks | undefined,
): StepInputs<"rehearse"> {
  const { deployment, rules, source } = settings;
  const { verify, rehearse, servingCheck } = snapshotRules(deployment.database, rules);
  const { health_check_retries, health_check_interval, grace_period } = deployment.deployment;
  return {
    network,
    ...taken,
    ...migrationsOf(settings, release),
    ...migrationLimits,
    // A rehearsal uses no other rule: an edit of the others is no reason to restore a snapshot again.
    ...waiversOf(settings.migrations.allow.filter(({ rule }) => rule === "out-of-order" || rule === "not-read")),
    verify: verify === "required" || verify === "when-possible",
    required: rehearse === "required" || verify === "required",
    serving:
      servingCheck === "off"
        ? null
        : {
            healthPath: source.healthPath,
            port: source.port,
            checks: postSwitchChecks(settings),
            limitSeconds: grace_period + health_check_retries * health_check_interval,
            failure: servingCheck,
          },
    ...(tasks === undefined ? {} : { tasks: taskParts(settings, tasks) }),
  };
}

/**
 * The request to switch traffic: one atomic write, confirmed through the router. It is undone when it can't be
 * confirmed, or when the release fails its trial.
 */
export function switchRequest(
  settings: Settings,
  { network, router, slot, release }: { network: pulumi.Input<string>; router: Router; slot: Slot; release: Release },
): StepInputs<"switch"> {
  const { activeSlot, source, rollout } = settings;
  const tasks = tasksAfter(source.tasks);
  return {
    network,
    activeSlot,
    release,
    volume: router.volumeName,
    routerContainerId: router.containerId,
    slotUrl: `http://${slot.address}`,
    routerUrl: router.url,
    healthPath: source.healthPath,
    checks: postSwitchChecks(settings),
    rollout: rolloutOf(rollout),
    ...(tasks === undefined ? {} : { tasks }),
  };
}

/**
 * The request for the slot that does not serve, after the deployment is recorded: keep it running, or drain and stop
 * it.
 */
export function standbyRequest(
  { standby, slots, drainTimeout }: Settings,
  slot: SlotName,
  containerId: pulumi.Output<string> | undefined,
): StepInputs<"standby"> {
  const release = slots[slot];
  const idle = {
    slot,
    release: release === undefined ? null : plainRelease(release),
    containerId: containerId ?? null,
  };
  return {
    mode: standby,
    idle: standby === "running" ? null : pulumi.output(idle),
    drainMs: milliseconds(drainTimeout),
  };
}
