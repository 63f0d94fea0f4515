import * as pulumi from "@pulumi/pulumi";
import { firstRole, planAppRole, rotationSentence, type AppRolePlan } from "../config/app-role.ts";
import { Begin } from "../components/begin.ts";
import { databaseContainer } from "../components/database.ts";
import { declareDatabase } from "./database.ts";
import { DatabaseCheck } from "../components/external-database.ts";
import { dockerProvider, hostContext, type HostContext } from "../components/host.ts";
import { BundledImage, ServerImage } from "../components/image.ts";
import { ImageRetention } from "../components/image-retention.ts";
import { removeInterrupted, type Interrupted } from "./interrupted.ts";
import { Migration } from "../components/migration.ts";
import { Network } from "../components/network.ts";
import { noteOverrides } from "./overrides.ts";
import { sayPlan } from "./plan.ts";
import { DeploymentRecord } from "../components/record.ts";
import { Rehearsal, type RehearsedTasks } from "../components/rehearsal.ts";
import { plainRelease, plainReleases } from "../config/releases.ts";
import { Router } from "../components/router.ts";
import { serverSecrets } from "./server-secrets.ts";
import {
  refuseChangeInPlace,
  refuseSentBack,
  routerToMove,
  staysInPlace,
  whatIsDown,
  whatIsMissing,
} from "./serving.ts";
import { plainEnvironment, Slot } from "../components/slot.ts";
import { Snapshot } from "../components/snapshot.ts";
import { SnapshotCopy } from "../components/snapshot-copy.ts";
import { Standby, Waking } from "../components/standby.ts";
import { Switch } from "../components/switch.ts";
import { Task } from "../components/task.ts";
import { Verification } from "../components/verification.ts";
import type { Settings, SlotRelease } from "../config/settings.ts";
import { postSwitchChecks } from "../config/post-switch.ts";
import { deploymentValues } from "../config/deployment-values.ts";
import { fillInAll } from "../config/placeholders.ts";
import { primaryUrl, publicUrl } from "../config/public-url.ts";
import { rolloutOf } from "../config/schema/rollout.ts";
import { milliseconds } from "../config/schema/duration.ts";
import { otherSlot } from "../config/plan.ts";
import { tasksAfter, tasksBefore, tasksToRehearse } from "../config/schema/tasks.ts";
import { snapshotRules } from "../config/schema/snapshot-rules.ts";
import { orRunError, toRunError } from "../config/run-error.ts";
import { slotNames, type Release, type SlotName } from "../ops/contract/steps.ts";
import type { HostNow, Part } from "../ops/host/serving-slot.ts";
import { pullMissing } from "../ops/host/pull-missing.ts";
import { startStopped } from "../ops/host/start-stopped.ts";
import { setSuperuserPassword } from "../ops/host/superuser-password.ts";

/** What a blue-green stack tells: `pulumi stack output`. */
export interface BlueGreenOutputs {
  /** Where the router answers. */
  url: string;
  httpsUrl?: string;
  /** What takes requests: true only after the switch. */
  serving: pulumi.Output<{ slot: SlotName; release: Release }>;
  activeSlot: pulumi.Output<SlotName>;
  version: pulumi.Output<string>;
  commit: pulumi.Output<string>;
  slots: Partial<Record<SlotName, Release>>;
  /** The schema version that each slot's release needs; a slot without migrations has none. */
  schemaVersions: Partial<Record<SlotName, pulumi.Output<number | null>>>;
  deploymentId: pulumi.Output<string>;
  stateFile: pulumi.Output<string>;
  logFile: pulumi.Output<string>;
  /** With which `togather snapshots` reaches the database. Secret. */
  databaseUrl: pulumi.Output<string>;
  databaseAdminUrl?: pulumi.Output<string>;
  /** With which `togather snapshots` reads encrypted ones. Secret. */
  snapshotIdentity?: pulumi.Output<string>;
  /** With which `togather snapshots` reads copies. Secret. */
  snapshotCopyKeyId?: pulumi.Output<string>;
  snapshotCopySecret?: pulumi.Output<string>;
}

/** As which role the servers log in to the bundled database; its superuser has today's password afterwards, unless this is a preview. */
async function planDatabaseRole(
  { database, name, host }: Settings,
  { serving, states, databaseUrls }: HostNow,
): Promise<AppRolePlan> {
  if (database.mode === "external") return firstRole;
  const plan = planAppRole(database.password, serving?.slot, databaseUrls);
  const sentence = rotationSentence(plan, serving?.slot, pulumi.getStack());
  if (sentence !== undefined) void pulumi.log.warn(sentence);
  if (!plan.rotated || states.database === undefined || pulumi.runtime.isDryRun()) return plan;
  await setSuperuserPassword({ container: databaseContainer(name), host, password: database.password }).catch(
    (error: unknown) => {
      throw toRunError(error);
    },
  );
  return plan;
}

/** What the releases' own files tell, where no migration does: a restore of a schema that one of them can't use is refused then as well. */
async function neededVersions({ slots, source }: Settings): Promise<BlueGreenOutputs["schemaVersions"]> {
  const { neededVersion } = await import("../ops/client/pending-migrations.ts");
  const found: BlueGreenOutputs["schemaVersions"] = {};
  for (const slot of slotNames) {
    const release = slots[slot];
    if (release === undefined || release.image !== undefined) continue;
    const version = await neededVersion({
      repository: source.repository,
      commit: release.commit,
      path: source.migrations,
    });
    if (version !== undefined) found[slot] = pulumi.output(version);
  }
  return found;
}

/**
 * Declares two slots behind a router, and which of them serves.
 * @param now what is there, as `askServing` tells.
 */
export async function blueGreen(
  settings: Settings,
  interrupted: Interrupted,
  now: Promise<HostNow>,
): Promise<BlueGreenOutputs> {
  const { activeSlot, addresses, deployment, name, rules, slots, source, tls } = settings;
  const asked = now.then(({ serving, router }) => {
    orRunError(() => {
      refuseChangeInPlace(settings, serving);
      refuseSentBack(settings, { serving, router });
    });
    return serving;
  });
  // A preview changes nothing, so that what doesn't depend on the answer need not wait for it.
  if (!pulumi.runtime.isDryRun()) {
    await removeInterrupted(settings, await asked, interrupted);
    const say = (sentence: string, failed: boolean): Promise<unknown> =>
      failed ? pulumi.log.error(sentence) : pulumi.log.warn(sentence);
    const down = whatIsDown(settings, await now);
    if (down.length > 0) await startStopped(settings.host, down, say);
    const pulled = whatIsMissing(settings, await now).flatMap((slot) => slots[slot]?.image ?? []);
    if (pulled.length > 0) await pullMissing(settings.host, pulled, say);
  }
  sayPlan(settings, asked);

  const context = hostContext(settings);
  const onHost = { providers: [dockerProvider(settings, process.env)] };
  const secrets = serverSecrets(settings);
  const known = deploymentValues(settings);
  // The rest of what stands in build arguments is known only when the image is built.
  const buildArguments = fillInAll(source.buildArguments, known, ["version", "commit", "created"]);

  // What both slots share: the private network, the program that does the steps, the database, the router.
  const { networkName } = new Network("network", { name, ...settings.network }, onHost);
  const ops = new BundledImage("ops-image", { image: "ops", context });
  const begin = new Begin(
    "begin",
    { context, activeSlot, slots, failureCommand: deployment.deployment.failure_command ?? undefined },
    { dependsOn: [ops] },
  );
  noteOverrides(settings, context.directories, begin.deploymentId);
  const last = await asked;
  const plan = await planDatabaseRole(settings, await now);
  const database = await declareDatabase(settings, { context, networkName, plan }, onHost);
  // Where a container reaches the database.
  const databaseNetwork = settings.database.network === "" ? undefined : settings.database.network;
  const nginxImage = new BundledImage("nginx-image", { image: "nginx", context });
  const router = new Router(
    "router",
    {
      context,
      networkName,
      imageId: nginxImage.imageId,
      address: addresses.router,
      slots: { blue: `${addresses.blue}:${source.port}`, green: `${addresses.green}:${source.port}` },
      listenAddress: settings.listenAddress,
      ports: settings.ports,
      tls: tls === undefined ? undefined : { certificate: tls.certificate, key: pulumi.secret(tls.key) },
      redirectToHttps: rules.redirectToHttps,
      closedPaths: settings.router.closedPaths,
    },
    onHost,
  );

  const down = whatIsDown(settings, await now);
  if (pulumi.runtime.isDryRun())
    for (const { container, state } of down)
      void pulumi.log.warn(`${container} is ${state}: pulumi up starts it again.`);
  /** Another text each time: what was down once may be down again. */
  const wasDown = (part: Part): string | undefined => {
    const found = down.find((one) => one.part === part);
    return found && `${found.state} at ${new Date().toISOString()}`;
  };
  const missing = whatIsMissing(settings, await now);
  const isMissing = (slot: SlotName): boolean => missing.includes(slot);
  // A switch asks the router, whatever moves: so that what is said to serve is what has answered.
  const found = routerToMove(settings, await now) ?? wasDown("router") ?? wasDown(activeSlot);

  const { verify, rehearse, servingCheck } = snapshotRules(deployment.database, rules);
  // Only where something is encrypted: a step has no secret that it doesn't need.
  const identity = deployment.database.snapshot_recipients.length === 0 ? undefined : settings.snapshotIdentity;
  const copyCredentials = deployment.database.snapshot_copy === null ? undefined : settings.snapshotCopyCredentials;
  const {
    health_check_retries: retries,
    health_check_interval: intervalSeconds,
    grace_period: graceSeconds,
  } = deployment.deployment;
  /** What is done with a snapshot once the deployment is over. */
  const afterwards: ((after: pulumi.Resource[]) => void)[] = [];
  /** The schema version that each slot's release needs; a slot without migrations has none. */
  const schemaVersions = settings.skipMigrations ? await neededVersions(settings) : {};

  // What is done with a snapshot: what the migrations wait for, and what waits until the deployment is over.
  function proveSnapshot(
    slot: SlotName,
    snapshot: Snapshot,
    data: {
      context: HostContext;
      networkName: pulumi.Input<string>;
      release: SlotRelease;
      databaseUrl: pulumi.Output<string>;
      tasks: RehearsedTasks | undefined;
    },
  ): pulumi.Resource | undefined {
    const restored = { ...data, databaseAdminUrl: database.adminUrl, identity, snapshot };
    const { snapshot_copy: to } = deployment.database;
    if (to !== null && copyCredentials !== undefined)
      afterwards.push(
        (after) =>
          new SnapshotCopy(
            `${slot}-copy`,
            { context, networkName: data.networkName, snapshot, to, credentials: copyCredentials },
            { dependsOn: after },
          ),
      );
    const verifySnapshot = (required: boolean, after: pulumi.Resource[]): Verification =>
      new Verification(`${slot}-verification`, { ...restored, required }, { dependsOn: after });
    if (verify === "background") afterwards.push((after) => verifySnapshot(false, after));
    const verifyFirst = verify === "required" || verify === "when-possible";
    if (rehearse === "never") return verifyFirst ? verifySnapshot(verify === "required", []) : undefined;
    // One restore serves both.
    return new Rehearsal(`${slot}-rehearsal`, {
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
              limitSeconds: graceSeconds + retries * intervalSeconds,
              failure: servingCheck,
            },
      tasks: data.tasks,
    });
  }

  // What a slot runs: image ─► snapshot (─► rehearsal or verification) ─► migration ─► container ─► gate. It depends on its own release alone.
  function declareSlot(slot: SlotName): Slot | undefined {
    const release = slots[slot];
    if (release === undefined) return undefined;
    const data = { context, networkName: databaseNetwork ?? networkName, release, databaseUrl: database.ownerUrl };
    const { extensions, mode } = settings.database;
    const check =
      mode === "external"
        ? [
            new DatabaseCheck(
              `${slot}-database`,
              { ...data, appUrl: database.appUrl, extensions, superuser: rules.unprivilegedRole },
              { dependsOn: [begin] },
            ),
          ]
        : [];
    const image = new ServerImage(
      `${slot}-image`,
      {
        context,
        release,
        source: { ...source, buildArguments },
        found: isMissing(slot) ? `no container at ${new Date().toISOString()}` : undefined,
      },
      { ...onHost, dependsOn: [begin] },
    );
    const {
      backup_location: backupLocation,
      snapshot_retention: retention,
      snapshot_keep_verified: keepVerified,
      snapshot_format: format,
      snapshot_recipients: recipients,
    } = deployment.database;
    const snapshot = settings.skipMigrations
      ? undefined
      : new Snapshot(
          `${slot}-snapshot`,
          { ...data, backupLocation, retention, keepVerified, format, recipients },
          { dependsOn: [image, ops, ...check] },
        );
    const told = {
      environment: {
        ENVIRONMENT: settings.environment,
        [source.logLevelVariable]: rules.logLevel,
        ...fillInAll(source.environment, {
          ...known,
          slot,
          version: release.version,
          commit: plainRelease(release).commit,
        }),
      },
      secrets: { ...secrets, DATABASE_URL: database.appUrl },
    };
    const rehearsed = tasksToRehearse(source.tasks);
    const tasks: RehearsedTasks | undefined =
      rehearsed.length === 0
        ? undefined
        : {
            list: rehearsed,
            imageId: image.imageId,
            networks: [networkName, ...(databaseNetwork === undefined ? [] : [databaseNetwork])],
            knowsHost: mode === "external",
            container: source.container,
            environment: plainEnvironment({ ...told, slot, portVariable: source.portVariable, port: source.port }),
            secrets: told.secrets,
          };
    const proved = snapshot && proveSnapshot(slot, snapshot, { ...data, tasks });
    const migration =
      snapshot &&
      new Migration(
        `${slot}-migration`,
        { ...data, source, lint: rules.migrationLint, allow: settings.migrations.allow },
        { dependsOn: [snapshot, ...(proved === undefined ? [] : [proved])] },
      );
    if (migration) schemaVersions[slot] = migration.result.apply(({ expected }) => expected);
    // Removed once the switch is over: what leaves the program is deleted last, and only when all else has gone well.
    if (settings.standby === "removed" && slot !== activeSlot) return undefined;
    return new Slot(
      `${slot}-slot`,
      {
        context,
        networkName,
        slot,
        release,
        imageId: image.imageId,
        address: addresses[slot],
        port: source.port,
        loopbackPort: settings.slotPorts[slot],
        portVariable: source.portVariable,
        container: source.container,
        ...told,
        databaseNetwork,
        knowsHost: mode === "external",
        gateDatabaseUrl: database.ownerUrl,
        healthPath: source.healthPath,
        expectedMigration: migration?.result.apply(({ expected }) => expected) ?? null,
        gate: { retries, intervalSeconds, graceSeconds },
        // The one that is to serve has another gate before the switch, which starts it.
        whenStopped: settings.standby === "stopped" ? "pass" : "start",
        serving: last?.slot === slot && staysInPlace(settings, last),
        found: wasDown(slot) ?? wasDown("database"),
      },
      { ...onHost, dependsOn: migration === undefined ? [image, ops, ...check] : [migration] },
    );
  }
  const declared = new Map(slotNames.map((slot) => [slot, declareSlot(slot)]));

  // Which slot serves: flipped for a release, flipped back for a rollback. `readSettings` has checked that it holds one.
  const release = slots[activeSlot];
  const target = declared.get(activeSlot);
  if (release === undefined || target === undefined) throw new pulumi.RunError(`slot ${activeSlot} holds no release`);
  const ready = settings.standby === "stopped" ? new Waking("waking", { slot: target }) : target;
  const { deploymentId } = begin;
  // One after the other, and none once another has failed.
  const tasks: Task[] = [];
  for (const task of tasksBefore(source.tasks)) {
    tasks.push(
      new Task(
        `task-${task.name}`,
        { context, deploymentId, router, slot: activeSlot, release, task },
        { dependsOn: [ready, router, begin, ...tasks.slice(-1)] },
      ),
    );
  }
  const traffic = new Switch(
    "switch",
    {
      context,
      networkName,
      router,
      activeSlot,
      release,
      slotAddress: target.address,
      healthPath: source.healthPath,
      checks: postSwitchChecks(settings),
      rollout: rolloutOf(settings.rollout),
      tasks: tasksAfter(source.tasks),
      found,
    },
    { dependsOn: [ready, router, begin, ...tasks] },
  );
  const record = new DeploymentRecord(
    "record",
    { context, activeSlot, slots, release, deploymentId, logRetention: deployment.logging.retention },
    { dependsOn: [traffic, ...[...declared.values()].filter((slot) => slot !== undefined)] },
  );

  const idle = otherSlot(activeSlot);
  new Standby(
    "standby",
    {
      context,
      mode: settings.standby,
      idle: { slot: idle, release: slots[idle], containerId: declared.get(idle)?.containerId },
      drainMs: milliseconds(settings.drainTimeout),
      found,
    },
    { dependsOn: [record] },
  );
  new ImageRetention(
    "image-retention",
    { context, releases: Object.values(slots), bundled: [ops, nginxImage], retention: deployment.images.retention },
    { dependsOn: [record] },
  );
  for (const begin of afterwards) begin([record]);

  const serving = traffic.result.apply(({ to }) => ({ slot: to, release: plainRelease(release) }));
  return {
    url: tls === undefined ? primaryUrl(settings) : publicUrl(settings, "http"),
    ...(tls === undefined ? {} : { httpsUrl: publicUrl(settings, "https") }),
    serving,
    activeSlot: serving.apply((now) => now.slot),
    version: serving.apply((now) => now.release.version),
    commit: serving.apply((now) => now.release.commit),
    slots: plainReleases(slots),
    schemaVersions,
    deploymentId,
    stateFile: record.result.apply(({ file }) => file),
    logFile: record.result.apply(({ log }) => log),
    databaseUrl: database.ownerUrl,
    ...(database.adminUrl === undefined ? {} : { databaseAdminUrl: database.adminUrl }),
    ...(settings.snapshotIdentity === undefined ? {} : { snapshotIdentity: pulumi.secret(settings.snapshotIdentity) }),
    ...(copyCredentials === undefined
      ? {}
      : {
          snapshotCopyKeyId: pulumi.secret(copyCredentials.keyId),
          snapshotCopySecret: pulumi.secret(copyCredentials.secret),
        }),
  };
}
