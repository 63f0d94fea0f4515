import * as pulumi from "@pulumi/pulumi";
import { serverImageTag, type BundledImage } from "../components/image.ts";
import type { Router } from "../components/router.ts";
import { StepComponent } from "../components/step.ts";
import { plainRelease, plainReleases, type SlotRelease } from "../config/release.ts";
import { tasksBefore } from "../config/schema/tasks.ts";
import { otherSlot } from "../ops/contract/release.ts";
import type { Release, SlotName } from "../ops/contract/steps.ts";
import type { DeclaredRelease, Ground } from "./release.ts";
import { standbyRequest, switchRequest } from "./requests.ts";

/** The declared releases, with everything that the switch between them needs. */
export interface Deployed extends Pick<Ground, "settings" | "context" | "begin" | "found" | "networkName" | "ops"> {
  router: Router;
  nginxImage: BundledImage;
  declared: (DeclaredRelease & { name: SlotName; release: SlotRelease })[];
  deploymentId: pulumi.Output<string>;
}

/** The state of router or container because of which the switch runs again with an unchanged request. */
const toMove = ({ found, settings }: Pick<Deployed, "found" | "settings">): string | undefined =>
  found.router ?? found.down("router") ?? found.down(settings.activeSlot);

/**
 * Declares the switch to the active slot: flipped for a release, flipped back for a rollback.
 * @throws {pulumi.RunError} when that slot has no release, which `readSettings` has already refused.
 */
export function declareSwitch(deployed: Deployed): { traffic: StepComponent<"switch">; release: Release } {
  const { settings, context, begin, networkName, router, declared, deploymentId } = deployed;
  const { activeSlot, source, standby } = settings;
  const target = declared.find((one) => one.name === activeSlot);
  if (target?.slot === undefined) throw new pulumi.RunError(`slot ${activeSlot} holds no release`);
  const { slot } = target;
  const release = plainRelease(target.release);
  // Another gate, which starts a stopped slot before any request reaches it.
  const waking = { ...slot.gateStep, request: { ...slot.gateStep.request, whenStopped: "start" as const } };
  const ready = standby === "stopped" ? new StepComponent("gate", "waking", waking, { dependsOn: [slot] }) : slot;
  // One after the other; none runs after a failure.
  const tasks: StepComponent<"task">[] = [];
  for (const task of tasksBefore(source.tasks)) {
    const dependsOn = [ready, router, begin, ...tasks.slice(-1)];
    const request = { deploymentId, slot: activeSlot, release, volume: router.volumeName, task };
    tasks.push(new StepComponent("task", `task-${task.name}`, { context, request }, { dependsOn }));
  }
  // A switch always asks the router: what is reported as serving has answered.
  const request = switchRequest(settings, { network: networkName, router, slot, release });
  const dependsOn = [ready, router, begin, ...tasks];
  const traffic = new StepComponent("switch", "switch", { context, request, found: toMove(deployed) }, { dependsOn });
  return { traffic, release };
}

/**
 * Declares the record of a switch, and everything that waits for it: the other slot's standby, old images, proofs and
 * copies of snapshots.
 */
export function declareRecord(
  deployed: Deployed,
  { traffic, release }: ReturnType<typeof declareSwitch>,
): StepComponent<"record"> {
  const { settings, context, declared, deploymentId, ops, nginxImage } = deployed;
  const { activeSlot, deployment, slots } = settings;
  const { retention: logRetention } = deployment.logging;
  const record = new StepComponent(
    "record",
    "record",
    { context, request: { deploymentId, activeSlot, release, slots: plainReleases(slots), logRetention } },
    { dependsOn: [traffic, ...declared.flatMap((one) => one.slot ?? [])] },
  );
  const recorded = { dependsOn: [record] };
  const idle = otherSlot(activeSlot);
  const { containerId } = declared.find((one) => one.name === idle)?.slot ?? {};
  const standby = { context, request: standbyRequest(settings, idle, containerId) };
  // Where both keep running, a router that was on the other slot is no reason to change them.
  const asFound = settings.standby === "running" ? standby : { ...standby, found: toMove(deployed) };
  new StepComponent("standby", "standby", asFound, recorded);
  const keep = [...Object.values(slots).map(serverImageTag), ops.tag, nginxImage.tag];
  const pulled = Object.values(slots).flatMap(({ source: from }) => (from.kind === "image" ? [from.reference] : []));
  const prune = { keep, ...(pulled.length === 0 ? {} : { pulled }), retention: deployment.images.retention };
  new StepComponent("prune", "image-retention", { context, request: prune }, recorded);
  for (const one of declared) for (const begins of one.afterwards) begins([record]);
  return record;
}
