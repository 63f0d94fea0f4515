import * as pulumi from "@pulumi/pulumi";
import { dockerProvider, hostContext } from "../components/host.ts";
import { BundledImage } from "../components/image.ts";
import { Network } from "../components/network.ts";
import { Router } from "../components/router.ts";
import { StepComponent } from "../components/step.ts";
import { asDeployed, plainReleases } from "../config/release.ts";
import { listenAddresses } from "../config/schema/listen-addresses.ts";
import type { Settings } from "../config/settings.ts";
import { slotNames } from "../ops/contract/steps.ts";
import { declareDatabase } from "./database.ts";
import { planDatabaseRole } from "./database-role.ts";
import { putInOrder, servingUnlessRefused, whatWasFound, type Opening } from "./open.ts";
import { blueGreenOutputs, type BlueGreenOutputs } from "./outputs.ts";
import { noteOverrides } from "./overrides.ts";
import { sayPlan } from "./plan.ts";
import { declareRelease, type Ground } from "./release.ts";
import { routerConfiguration } from "./router-configuration.ts";
import { secretOutput } from "./secret-output.ts";
import { neededVersions } from "./schema-versions.ts";
import { declareRecord, declareSwitch, type Deployed } from "./traffic.ts";

/** Declares two slots behind a router, and the slot that serves. docs/architecture.md has the picture. */
export async function declare(wanted: Settings, opening: Opening): Promise<BlueGreenOutputs> {
  const { activeSlot, addresses, deployment, name, tls } = wanted;
  const asked = servingUnlessRefused(wanted, opening, process.env);
  // A preview changes nothing: resources that don't depend on the answer need not wait for it.
  if (!pulumi.runtime.isDryRun()) {
    await asked;
    await putInOrder(wanted, opening, process.env);
  }
  sayPlan(wanted, asked, opening.now);

  // Parts that both slots share: the private network, the program that runs the steps, the database, the router.
  const context = hostContext(wanted);
  const onHost = { providers: [dockerProvider(wanted, process.env)] };
  const { networkName } = new Network("network", { name, ...wanted.network }, onHost);
  const ops = new BundledImage("ops-image", { image: "ops", context });
  const [serving, now] = [await asked, await opening.now];
  // Another spelling of the same commit is no other release: running containers keep their spelling.
  const slots = asDeployed(wanted.slots, now.held, now.served);
  const settings = { ...wanted, slots };
  const { failure_command: failureCommand } = deployment.deployment;
  const toBegin = { activeSlot, slots: plainReleases(slots), ...(failureCommand === null ? {} : { failureCommand }) };
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

  // The release of each slot.
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

  // The switch to the slot that serves, and everything after it.
  const deployed: Deployed = { ...ground, router, nginxImage, declared, deploymentId };
  const switched = declareSwitch(deployed);
  const record = declareRecord(deployed, switched);

  const schemaVersions = {
    ...Object.fromEntries(
      Object.entries(versions).map(([slot, version]) => [slot, pulumi.output<number | null>(version)]),
    ),
    ...Object.fromEntries(
      declared.flatMap((one) => (one.schemaVersion === undefined ? [] : [[one.name, one.schemaVersion]])),
    ),
  };
  return blueGreenOutputs(settings, { ...switched, record, deploymentId, database, schemaVersions });
}
