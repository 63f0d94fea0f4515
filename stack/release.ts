import * as pulumi from "@pulumi/pulumi";
import type { DatabaseUrls } from "../components/database.ts";
import type { HostContext } from "../components/host.ts";
import { ServerImage, type BundledImage } from "../components/image.ts";
import { plainEnvironment, Slot, type SlotArgs } from "../components/slot.ts";
import { StepComponent } from "../components/step.ts";
import { deploymentValues } from "../config/deployment-values.ts";
import { fillInAll } from "../config/placeholders.ts";
import { plainRelease, type SlotRelease } from "../config/release.ts";
import { snapshotRules } from "../config/schema/snapshot-rules.ts";
import { tasksToRehearse } from "../config/schema/tasks.ts";
import type { Settings } from "../config/settings.ts";
import { poolSize } from "../ops/contract/connection-room.ts";
import type { SlotName } from "../ops/contract/steps.ts";
import type { Serving } from "../ops/host/serving-slot.ts";
import type { Found } from "./open.ts";
import {
  migrateRequest,
  rehearseRequest,
  restoreSecrets,
  snapshotRequest,
  takenBy,
  taskSecrets,
  type DataStep,
  type RehearsedTasks,
} from "./requests.ts";
import { secretOutput } from "./secret-output.ts";
import { serverSecrets } from "./server-secrets.ts";
import { staysInPlace } from "./serving.ts";

/** Parts that both slots' releases need. */
export interface Ground {
  settings: Settings;
  context: HostContext;
  /** The provider of the deployment's Docker host. */
  onHost: pulumi.ComponentResourceOptions;
  networkName: pulumi.Input<string>;
  ops: BundledImage;
  begin: StepComponent<"begin">;
  database: DatabaseUrls;
  serving: Serving | undefined;
  found: Found;
  /**
   * The schema versions that the releases need by their own files, where no migration will run. Unknown ones are
   * missing.
   */
  neededVersions: Partial<Record<SlotName, number | null>>;
}

/** A declaration for after the deployment. */
export type Afterwards = (after: pulumi.Resource[]) => void;

/** The resources of a slot's release. */
export interface DeclaredRelease {
  /** Undefined: it is removed after the switch. */
  slot: Slot | undefined;
  /** The schema version that the release needs. Undefined: unknown without a migration. */
  schemaVersion: pulumi.Output<number | null> | undefined;
  /** Steps for its snapshot after all others. */
  afterwards: Afterwards[];
}

/**
 * Declares a slot's release: image ─► snapshot (─► rehearsal or verification) ─► migration ─► container ─► gate. It
 * depends on no resource of the other slot.
 */
export function declareRelease(ground: Ground, slot: SlotName, release: SlotRelease): DeclaredRelease {
  const { settings, context, onHost, networkName, ops, begin, database, found } = ground;
  const { source, deployment } = settings;
  // The network in which a container reaches the database.
  const databaseNetwork = settings.database.network === "" ? undefined : settings.database.network;
  const data = { network: databaseNetwork ?? networkName, release };
  const check = checkDatabase(ground, slot, data);
  // Other placeholders in build arguments are known only when the image is built.
  const buildArguments = fillInAll(source.buildArguments, deploymentValues(settings), ["version", "commit", "created"]);
  const image = new ServerImage(
    `${slot}-image`,
    { context, release, source: { ...source, buildArguments }, found: found.missing(slot) },
    { ...onHost, dependsOn: [begin] },
  );
  const told = serverIsTold(ground, slot, release);
  const { snapshot, proof, afterwards } = settings.skipMigrations
    ? { snapshot: undefined, proof: undefined, afterwards: [] }
    : declareSnapshot(ground, slot, data, {
        tasks: rehearsedTasks(ground, slot, { ...told, imageId: image.imageId, databaseNetwork }),
        dependsOn: [image, ops, ...check],
      });
  const migration =
    snapshot &&
    new StepComponent(
      "migrate",
      `${slot}-migration`,
      { context, request: migrateRequest(settings, data), secrets: { DATABASE_URL: database.ownerUrl } },
      { dependsOn: [snapshot, ...(proof === undefined ? [] : [proof])] },
    );
  const schemaVersion = migration?.result.apply(({ expected }) => expected);
  // Resources that leave the program are deleted last, and only after everything else has succeeded.
  if (settings.standby === "removed" && slot !== settings.activeSlot)
    return { slot: undefined, schemaVersion, afterwards };
  const { health_check_retries: retries, health_check_interval, grace_period } = deployment.deployment;
  const declared = new Slot(
    `${slot}-slot`,
    {
      context,
      networkName,
      slot,
      release,
      imageId: image.imageId,
      address: settings.addresses[slot],
      port: source.port,
      loopbackPort: settings.slotPorts[slot],
      portVariable: source.portVariable,
      container: source.container,
      ...told,
      databaseNetwork,
      knowsHost: settings.database.mode === "external",
      gateDatabaseUrl: database.ownerUrl,
      healthPath: source.healthPath,
      expectedMigration: schemaVersion ?? ground.neededVersions[slot] ?? null,
      gate: { retries, intervalSeconds: health_check_interval, graceSeconds: grace_period },
      // The slot that is to serve has another gate before the switch, which starts it.
      whenStopped: settings.standby === "stopped" ? "pass" : "start",
      serving: ground.serving?.slot === slot && staysInPlace(settings, ground.serving),
      found: found.down(slot) ?? found.down("database"),
    },
    { ...onHost, dependsOn: migration === undefined ? [image, ops, ...check] : [migration] },
  );
  return { slot: declared, schemaVersion, afterwards };
}

/** Checks an external database before anything needs it. */
function checkDatabase(
  { settings, context, begin, database }: Ground,
  slot: SlotName,
  { network, release }: DataStep,
): StepComponent<"database">[] {
  const { mode, extensions } = settings.database;
  if (mode === "bundled") return [];
  const pool = poolSize(undefined, settings.source.environment);
  const request = {
    ...{ network, release: plainRelease(release), extensions, superuser: settings.rules.unprivilegedRole },
    ...(pool === undefined ? {} : { pool }),
  };
  const secrets = { DATABASE_URL: database.appUrl, MIGRATION_DATABASE_URL: database.ownerUrl };
  return [new StepComponent("database", `${slot}-database`, { context, request, secrets }, { dependsOn: [begin] })];
}

/** The environment of a release's server. */
function serverIsTold(
  { settings, database }: Ground,
  slot: SlotName,
  release: SlotRelease,
): Pick<SlotArgs, "environment" | "secrets"> {
  const { environment, source, rules } = settings;
  const known = { ...deploymentValues(settings), slot, version: release.version, commit: plainRelease(release).commit };
  return {
    environment: {
      ENVIRONMENT: environment,
      [source.logLevelVariable]: rules.logLevel,
      ...fillInAll(source.environment, known),
    },
    secrets: { ...serverSecrets(settings), DATABASE_URL: database.appUrl },
  };
}

/** Tasks for a rehearsal on the copy of the data. Undefined: none. */
function rehearsedTasks(
  { settings: { source }, networkName }: Ground,
  slot: SlotName,
  server: Pick<SlotArgs, "environment" | "secrets" | "imageId" | "databaseNetwork">,
): RehearsedTasks | undefined {
  const list = tasksToRehearse(source.tasks);
  if (list.length === 0) return undefined;
  return {
    list,
    imageId: server.imageId,
    networks: [networkName, ...(server.databaseNetwork === undefined ? [] : [server.databaseNetwork])],
    environment: plainEnvironment({
      environment: server.environment,
      slot,
      portVariable: source.portVariable,
      port: source.port,
    }),
    secrets: server.secrets,
  };
}

/**
 * Declares the snapshot before a release's migrations, its proof, for which they wait, and the steps after the
 * deployment.
 */
function declareSnapshot(
  { settings, context, database }: Ground,
  slot: SlotName,
  data: DataStep,
  { tasks, dependsOn }: { tasks: RehearsedTasks | undefined; dependsOn: pulumi.Resource[] },
): { snapshot: StepComponent<"snapshot">; proof: pulumi.Resource | undefined; afterwards: Afterwards[] } {
  const { deployment, rules, snapshotCopyCredentials: credentials } = settings;
  const { network } = data;
  const snapshot = new StepComponent(
    "snapshot",
    `${slot}-snapshot`,
    { context, request: snapshotRequest(settings, data), secrets: { DATABASE_URL: database.ownerUrl } },
    { dependsOn },
  );
  const taken = takenBy(settings, snapshot);
  const afterwards: Afterwards[] = [];
  const to = deployment.database.snapshot_copy;
  if (to !== null && credentials !== undefined) {
    const { endpoint, region, bucket, prefix, failure } = to;
    const request = { network, ...taken, endpoint, region, bucket, prefix, failure };
    const secrets = {
      SNAPSHOT_COPY_KEY_ID: secretOutput(credentials.keyId),
      SNAPSHOT_COPY_SECRET: secretOutput(credentials.secret),
    };
    afterwards.push((after) => {
      new StepComponent("copy", `${slot}-copy`, { context, request, secrets }, { dependsOn: after });
    });
  }
  const secrets = restoreSecrets(settings, database);
  const { verify, rehearse } = snapshotRules(deployment.database, rules);
  const verification = (required: boolean, after: pulumi.Resource[]): StepComponent<"verify"> => {
    const { backupLocation, file, sha256 } = taken;
    const request = { network, backupLocation, file, foreign: false, sha256, required };
    return new StepComponent("verify", `${slot}-verification`, { context, request, secrets }, { dependsOn: after });
  };
  if (verify === "background") afterwards.push((after) => void verification(false, after));
  if (rehearse === "never") {
    const first = verify === "required" || verify === "when-possible";
    return { snapshot, proof: first ? verification(verify === "required", []) : undefined, afterwards };
  }
  // One restore serves both.
  const proof = new StepComponent("rehearse", `${slot}-rehearsal`, {
    context,
    request: rehearseRequest(settings, data, taken, tasks),
    secrets: { ...secrets, ...taskSecrets(tasks) },
  });
  return { snapshot, proof, afterwards };
}
