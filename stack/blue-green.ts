import * as pulumi from "@pulumi/pulumi";
import { dockerProvider, hostContext } from "../components/host.ts";
import { BundledImage, serverImageTag } from "../components/image.ts";
import { Network } from "../components/network.ts";
import { Router } from "../components/router.ts";
import { StepComponent } from "../components/step.ts";
import { asDeployed, plainRelease, plainReleases } from "../config/release.ts";
import { listenAddresses } from "../config/schema/listen-addresses.ts";
import { tasksBefore } from "../config/schema/tasks.ts";
import type { Settings } from "../config/settings.ts";
import { otherSlot } from "../ops/contract/release.ts";
import { slotNames } from "../ops/contract/steps.ts";
import { declareDatabase } from "./database.ts";
import { planDatabaseRole } from "./database-role.ts";
import { putInOrder, servingUnlessRefused, whatWasFound, type Opening } from "./open.ts";
import { blueGreenOutputs, type BlueGreenOutputs } from "./outputs.ts";
import { noteOverrides } from "./overrides.ts";
import { sayPlan } from "./plan.ts";
import { declareRelease, type Ground } from "./release.ts";
import { standbyRequest, switchRequest } from "./requests.ts";
import { routerConfiguration } from "./router-configuration.ts";
import { secretOutput } from "./secret-output.ts";
import { neededVersions } from "./schema-versions.ts";

/** Two slots behind a router, and which of them serves. docs/architecture.md has the picture. */
export async function declare(wanted: Settings, opening: Opening): Promise<BlueGreenOutputs> {
  const { activeSlot, addresses, deployment, name, source, tls } = wanted;
  const asked = servingUnlessRefused(wanted, opening, process.env);
  // A preview changes nothing, so that what doesn't depend on the answer need not wait for it.
  if (!pulumi.runtime.isDryRun()) {
    await asked;
    await putInOrder(wanted, opening, process.env);
  }
  sayPlan(wanted, asked, opening.now);

  // What both slots share: the private network, the program that does the steps, the database, the router.
  const context = hostContext(wanted);
  const onHost = { providers: [dockerProvider(wanted, process.env)] };
  const { networkName } = new Network("network", { name, ...wanted.network }, onHost);
  const ops = new BundledImage("ops-image", { image: "ops", context });
  const [serving, now] = [await asked, await opening.now];
  // A commit that is only spelled in another way is no other release: what runs keeps its spelling.
  const slots = asDeployed(wanted.slots, now.held, now.served);
  const settings = { ...wanted, slots };
  const { failure_command: failureCommand } = deployment.deployment;
  const held = plainReleases(slots);
  const toBegin = { activeSlot, slots: held, ...(failureCommand === null ? {} : { failureCommand }) };
  const begin = new StepComponent("begin", "begin", { context, request: toBegin }, { dependsOn: [ops] });
  const deploymentId = begin.result.apply((begun) => begun.deploymentId);
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
      ...routerConfiguration(settings),
      listenAddresses: listenAddresses(settings.listenAddress),
      tls: tls === undefined ? undefined : { certificate: tls.certificate, key: secretOutput(tls.key) },
    },
    onHost,
  );

  // What each slot runs.
  const found = whatWasFound(settings, now);
  const versions = settings.skipMigrations ? await neededVersions(settings) : {};
  const ground: Ground = {
    settings,
    context,
    onHost,
    networkName,
    ops,
    begin,
    database,
    serving,
    found,
    neededVersions: versions,
  };
  const declared = slotNames.flatMap((slot) => {
    const release = slots[slot];
    return release === undefined ? [] : [{ name: slot, release, ...declareRelease(ground, slot, release) }];
  });

  // Which of them serves: flipped for a release, flipped back for a rollback. `readSettings` has checked that it holds one.
  const target = declared.find((one) => one.name === activeSlot);
  if (target?.slot === undefined) throw new pulumi.RunError(`slot ${activeSlot} holds no release`);
  const { slot } = target;
  const release = plainRelease(target.release);
  // Another gate, which starts a slot that was stopped, before any request reaches it.
  const waking = { ...slot.gateStep, request: { ...slot.gateStep.request, whenStopped: "start" as const } };
  const ready =
    settings.standby === "stopped" ? new StepComponent("gate", "waking", waking, { dependsOn: [slot] }) : slot;
  // One after the other, and none once another has failed.
  const tasks: StepComponent<"task">[] = [];
  for (const task of tasksBefore(source.tasks)) {
    const dependsOn = [ready, router, begin, ...tasks.slice(-1)];
    const request = { deploymentId, slot: activeSlot, release, volume: router.volumeName, task };
    tasks.push(new StepComponent("task", `task-${task.name}`, { context, request }, { dependsOn }));
  }
  // A switch asks the router, whatever moves: so that what is said to serve is what has answered.
  const toMove = found.router ?? found.down("router") ?? found.down(activeSlot);
  const traffic = new StepComponent(
    "switch",
    "switch",
    { context, request: switchRequest(settings, { network: networkName, router, slot, release }), found: toMove },
    { dependsOn: [ready, router, begin, ...tasks] },
  );

  // What follows once it does.
  const { retention: logRetention } = deployment.logging;
  const record = new StepComponent(
    "record",
    "record",
    { context, request: { deploymentId, activeSlot, release, slots: held, logRetention } },
    { dependsOn: [traffic, ...declared.flatMap((one) => one.slot ?? [])] },
  );
  const recorded = { dependsOn: [record] };
  const idle = otherSlot(activeSlot);
  const { containerId } = declared.find((one) => one.name === idle)?.slot ?? {};
  const standby = { context, request: standbyRequest(settings, idle, containerId) };
  // Where both keep running, a router that was elsewhere is no reason to do anything to them.
  const asFound = settings.standby === "running" ? standby : { ...standby, found: toMove };
  new StepComponent("standby", "standby", asFound, recorded);
  const keep = [...Object.values(slots).map(serverImageTag), ops.tag, nginxImage.tag];
  const pulled = Object.values(slots).flatMap(({ source: from }) => (from.kind === "image" ? [from.reference] : []));
  const prune = {
    keep,
    ...(pulled.length === 0 ? {} : { pulled }),
    retention: deployment.images.retention,
  };
  new StepComponent("prune", "image-retention", { context, request: prune }, recorded);
  for (const one of declared) for (const begins of one.afterwards) begins([record]);

  const schemaVersions = {
    ...Object.fromEntries(
      Object.entries(versions).map(([slot, version]) => [slot, pulumi.output<number | null>(version)]),
    ),
    ...Object.fromEntries(
      declared.flatMap((one) => (one.schemaVersion === undefined ? [] : [[one.name, one.schemaVersion]])),
    ),
  };
  return blueGreenOutputs(settings, { traffic, release, record, deploymentId, database, schemaVersions });
}
