import * as pulumi from "@pulumi/pulumi";
import { Begin } from "../components/begin.ts";
import { dockerProvider, hostContext } from "../components/host.ts";
import { ImageRetention } from "../components/image-retention.ts";
import { BundledImage } from "../components/image.ts";
import { Network } from "../components/network.ts";
import { DeploymentRecord } from "../components/record.ts";
import { Router } from "../components/router.ts";
import { Standby, Waking } from "../components/standby.ts";
import { Switch } from "../components/switch.ts";
import { Task } from "../components/task.ts";
import { postSwitchChecks } from "../config/post-switch.ts";
import { milliseconds } from "../config/schema/duration.ts";
import { rolloutOf } from "../config/schema/rollout.ts";
import { tasksAfter, tasksBefore } from "../config/schema/tasks.ts";
import type { Settings } from "../config/settings.ts";
import { asDeployed } from "../config/release.ts";
import { otherSlot } from "../ops/contract/release.ts";
import { slotNames } from "../ops/contract/steps.ts";
import { declareDatabase } from "./database.ts";
import { planDatabaseRole } from "./database-role.ts";
import { putInOrder, servingUnlessRefused, whatWasFound, type Opening } from "./open.ts";
import { blueGreenOutputs, type BlueGreenOutputs } from "./outputs.ts";
import { noteOverrides } from "./overrides.ts";
import { sayPlan } from "./plan.ts";
import { declareRelease, type Ground } from "./release.ts";
import { secretOutput } from "./secret-output.ts";
import { neededVersions } from "./schema-versions.ts";

/** Two slots behind a router, and which of them serves. docs/architecture.md has the picture. */
export async function declare(wanted: Settings, opening: Opening): Promise<BlueGreenOutputs> {
  const { activeSlot, addresses, deployment, name, rules, source, tls } = wanted;
  const asked = servingUnlessRefused(wanted, opening);
  // A preview changes nothing, so that what doesn't depend on the answer need not wait for it.
  if (!pulumi.runtime.isDryRun()) {
    await asked;
    await putInOrder(wanted, opening);
  }
  sayPlan(wanted, asked);

  // What both slots share: the private network, the program that does the steps, the database, the router.
  const context = hostContext(wanted);
  const onHost = { providers: [dockerProvider(wanted, process.env)] };
  const { networkName } = new Network("network", { name, ...wanted.network }, onHost);
  const ops = new BundledImage("ops-image", { image: "ops", context });
  const [serving, now] = [await asked, await opening.now];
  // A commit that is only spelled in another way is no other release: what runs keeps its spelling.
  const slots = asDeployed(wanted.slots, serving?.held, serving?.served);
  const settings = { ...wanted, slots };
  const failureCommand = deployment.deployment.failure_command ?? undefined;
  const begin = new Begin("begin", { context, activeSlot, slots, failureCommand }, { dependsOn: [ops] });
  const { deploymentId } = begin;
  noteOverrides(settings, context.directories, deploymentId);
  const plan = await planDatabaseRole(settings, now);
  const database = await declareDatabase(settings, { context, networkName, plan }, onHost);
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
      tls: tls === undefined ? undefined : { certificate: tls.certificate, key: secretOutput(tls.key) },
      redirectToHttps: rules.redirectToHttps,
      closedPaths: settings.router.closedPaths,
    },
    onHost,
  );

  // What each slot runs.
  const found = whatWasFound(settings, now);
  const versions = settings.skipMigrations ? await neededVersions(settings) : {};
  const ground: Ground = { settings, context, onHost, networkName, ops, begin, database, serving, found };
  const declared = slotNames.flatMap((slot) => {
    const release = slots[slot];
    return release === undefined ? [] : [{ name: slot, release, ...declareRelease(ground, slot, release) }];
  });

  // Which of them serves: flipped for a release, flipped back for a rollback. `readSettings` has checked that it holds one.
  const target = declared.find((one) => one.name === activeSlot);
  if (target?.slot === undefined) throw new pulumi.RunError(`slot ${activeSlot} holds no release`);
  const { slot, release } = target;
  const ready = settings.standby === "stopped" ? new Waking("waking", { slot }) : slot;
  // One after the other, and none once another has failed.
  const tasks: Task[] = [];
  for (const task of tasksBefore(source.tasks)) {
    const dependsOn = [ready, router, begin, ...tasks.slice(-1)];
    const args = { context, deploymentId, router, slot: activeSlot, release, task };
    tasks.push(new Task(`task-${task.name}`, args, { dependsOn }));
  }
  // A switch asks the router, whatever moves: so that what is said to serve is what has answered.
  const toMove = found.router ?? found.down("router") ?? found.down(activeSlot);
  const traffic = new Switch(
    "switch",
    {
      context,
      networkName,
      router,
      activeSlot,
      release,
      slotAddress: slot.address,
      healthPath: source.healthPath,
      checks: postSwitchChecks(settings),
      rollout: rolloutOf(settings.rollout),
      tasks: tasksAfter(source.tasks),
      found: toMove,
    },
    { dependsOn: [ready, router, begin, ...tasks] },
  );

  // What follows once it does.
  const record = new DeploymentRecord(
    "record",
    { context, activeSlot, slots, release, deploymentId, logRetention: deployment.logging.retention },
    { dependsOn: [traffic, ...declared.flatMap((one) => one.slot ?? [])] },
  );
  const after = { dependsOn: [record] };
  const idle = otherSlot(activeSlot);
  const { containerId } = declared.find((one) => one.name === idle)?.slot ?? {};
  const drainMs = milliseconds(settings.drainTimeout);
  const standby = { context, mode: settings.standby, drainMs, found: toMove };
  new Standby("standby", { ...standby, idle: { slot: idle, release: slots[idle], containerId } }, after);
  const { retention } = deployment.images;
  const releases = Object.values(slots);
  new ImageRetention("image-retention", { context, releases, bundled: [ops, nginxImage], retention }, after);
  for (const one of declared) for (const begins of one.afterwards) begins([record]);

  const schemaVersions = {
    ...versions,
    ...Object.fromEntries(
      declared.flatMap((one) => (one.schemaVersion === undefined ? [] : [[one.name, one.schemaVersion]])),
    ),
  };
  return blueGreenOutputs(settings, { traffic, release, record, deploymentId, database, schemaVersions });
}
