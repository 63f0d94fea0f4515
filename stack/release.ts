import * as pulumi from "@pulumi/pulumi";
import type { DatabaseUrls } from "../components/database.ts";
import { DatabaseCheck } from "../components/external-database.ts";
import type { HostContext } from "../components/host.ts";
import { ServerImage, type BundledImage } from "../components/image.ts";
import type { Begin } from "../components/begin.ts";
import { Migration } from "../components/migration.ts";
import { Rehearsal, type RehearsedTasks } from "../components/rehearsal.ts";
import { plainEnvironment, Slot, type SlotArgs } from "../components/slot.ts";
import { SnapshotCopy } from "../components/snapshot-copy.ts";
import { Snapshot } from "../components/snapshot.ts";
import { Verification } from "../components/verification.ts";
import { deploymentValues } from "../config/deployment-values.ts";
import { fillInAll } from "../config/placeholders.ts";
import { postSwitchChecks } from "../config/post-switch.ts";
import { plainRelease, type SlotRelease } from "../config/release.ts";
import { snapshotRules } from "../config/schema/snapshot-rules.ts";
import { tasksToRehearse } from "../config/schema/tasks.ts";
import type { Settings } from "../config/settings.ts";
import type { SlotName } from "../ops/contract/steps.ts";
import type { Serving } from "../ops/host/serving-slot.ts";
import type { Found } from "./open.ts";
import { secretOutput, secretOutputOf } from "./secret-output.ts";
import { serverSecrets } from "./server-secrets.ts";
import { staysInPlace } from "./serving.ts";

/** What both slots' releases stand on. */
export interface Ground {
  settings: Settings;
  context: HostContext;
  /** The provider of the deployment's Docker host. */
  onHost: pulumi.ComponentResourceOptions;
  networkName: pulumi.Input<string>;
  ops: BundledImage;
  begin: Begin;
  database: DatabaseUrls;
  serving: Serving | undefined;
  found: Found;
}

/** What is declared once the deployment is over. */
export type Afterwards = (after: pulumi.Resource[]) => void;

/** What a slot's release has made. */
export interface DeclaredRelease {
  /** Undefined for one that is removed once the switch is over. */
  slot: Slot | undefined;
  /** The schema version that the release needs; undefined where no migration tells. */
  schemaVersion: pulumi.Output<number | null> | undefined;
  /** What is done with its snapshot when all else is done. */
  afterwards: Afterwards[];
}

/** What the steps about a release's data are told. */
interface Data {
  context: HostContext;
  networkName: pulumi.Input<string>;
  release: SlotRelease;
  databaseUrl: pulumi.Output<string>;
}

/**
 * A slot's release: image ─► snapshot (─► rehearsal or verification) ─► migration ─► container ─► gate. It depends on
 * nothing of the other slot's.
 */
export function declareRelease(ground: Ground, slot: SlotName, release: SlotRelease): DeclaredRelease {
  const { settings, context, onHost, networkName, ops, begin, database, found } = ground;
  const { source, rules, deployment } = settings;
  // Where a container reaches the database.
  const databaseNetwork = settings.database.network === "" ? undefined : settings.database.network;
  const data = { context, networkName: databaseNetwork ?? networkName, release, databaseUrl: database.ownerUrl };
  const check = checkDatabase(ground, slot, data);
  // The rest of what stands in build arguments is known only when the image is built.
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
    new Migration(
      `${slot}-migration`,
      { ...data, source, lint: rules.migrationLint, allow: settings.migrations.allow },
      { dependsOn: [snapshot, ...(proof === undefined ? [] : [proof])] },
    );
  const schemaVersion = migration?.result.apply(({ expected }) => expected);
  // What leaves the program is deleted last, and only when all else has gone well.
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
      expectedMigration: schemaVersion ?? null,
      gate: { retries, intervalSeconds: health_check_interval, graceSeconds: grace_period },
      // The one that is to serve has another gate before the switch, which starts it.
      whenStopped: settings.standby === "stopped" ? "pass" : "start",
      serving: ground.serving?.slot === slot && staysInPlace(settings, ground.serving),
      found: found.down(slot) ?? found.down("database"),
    },
    { ...onHost, dependsOn: migration === undefined ? [image, ops, ...check] : [migration] },
  );
  return { slot: declared, schemaVersion, afterwards };
}

/** An external database is looked at before anything needs it. */
function checkDatabase({ settings, begin, database }: Ground, slot: SlotName, data: Data): DatabaseCheck[] {
  const { mode, extensions } = settings.database;
  if (mode === "bundled") return [];
  return [
    new DatabaseCheck(
      `${slot}-database`,
      { ...data, appUrl: database.appUrl, extensions, superuser: settings.rules.unprivilegedRole },
      { dependsOn: [begin] },
    ),
  ];
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

/** Tasks that are tried on the copy of the data; undefined for none. */
function rehearsedTasks(
  { settings: { source, database }, networkName }: Ground,
  slot: SlotName,
  server: Pick<SlotArgs, "environment" | "secrets" | "imageId" | "databaseNetwork">,
): RehearsedTasks | undefined {
  const list = tasksToRehearse(source.tasks);
  if (list.length === 0) return undefined;
  return {
    list,
    imageId: server.imageId,
    networks: [networkName, ...(server.databaseNetwork === undefined ? [] : [server.databaseNetwork])],
    knowsHost: database.mode === "external",
    container: source.container,
    environment: plainEnvironment({
      environment: server.environment,
      slot,
      portVariable: source.portVariable,
      port: source.port,
    }),
    secrets: server.secrets,
  };
}

/** The snapshot before a release's migrations, its proof, for which they wait, and what waits until the deployment is over. */
function declareSnapshot(
  { settings, context, database }: Ground,
  slot: SlotName,
  data: Data,
  { tasks, dependsOn }: { tasks: RehearsedTasks | undefined; dependsOn: pulumi.Resource[] },
): { snapshot: Snapshot; proof: pulumi.Resource | undefined; afterwards: Afterwards[] } {
  const { deployment, rules, source } = settings;
  const { backup_location: backupLocation, snapshot_copy: to, ...kept } = deployment.database;
  const snapshot = new Snapshot(
    `${slot}-snapshot`,
    {
      ...data,
      backupLocation,
      retention: kept.snapshot_retention,
      keepVerified: kept.snapshot_keep_verified,
      format: kept.snapshot_format,
      recipients: kept.snapshot_recipients,
    },
    { dependsOn },
  );
  const afterwards: Afterwards[] = [];
  const known = settings.snapshotCopyCredentials;
  if (to !== null && known !== undefined) {
    const credentials = { keyId: secretOutput(known.keyId), secret: secretOutput(known.secret) };
    afterwards.push((after) => {
      new SnapshotCopy(
        `${slot}-copy`,
        { context, networkName: data.networkName, snapshot, to, credentials },
        { dependsOn: after },
      );
    });
  }
  // Only where something is encrypted: a step has no secret that it doesn't need.
  const identity = kept.snapshot_recipients.length === 0 ? undefined : secretOutputOf(settings.snapshotIdentity);
  const restored = { ...data, databaseAdminUrl: database.adminUrl, identity, snapshot };
  const { verify, rehearse, servingCheck } = snapshotRules(deployment.database, rules);
  const verification = (required: boolean, after: pulumi.Resource[]): Verification =>
    new Verification(`${slot}-verification`, { ...restored, required }, { dependsOn: after });
  if (verify === "background") afterwards.push((after) => void verification(false, after));
  const verifyFirst = verify === "required" || verify === "when-possible";
  if (rehearse === "never")
    return { snapshot, proof: verifyFirst ? verification(verify === "required", []) : undefined, afterwards };
  const { health_check_retries, health_check_interval, grace_period } = deployment.deployment;
  // One restore serves both.
  const proof = new Rehearsal(`${slot}-rehearsal`, {
    ...restored,
    source,
    allow: settings.migrations.allow,
    verify: verifyFirst,
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
    tasks,
  });
  return { snapshot, proof, afterwards };
}
