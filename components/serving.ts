import * as pulumi from "@pulumi/pulumi";
import { SettingsError } from "../config/problems.ts";
import type { Settings } from "../config/load.ts";
import type { Release, SlotName } from "../ops/contract.ts";
import { plainRelease } from "./releases.ts";

/** What took requests when the last `pulumi up` ended. */
export interface Serving {
  slot: SlotName;
  release: Release;
}

/** Reads the stack's own last outputs. Undefined before its first success. */
export async function lastServing(): Promise<Serving | undefined> {
  const self = new pulumi.StackReference("self", {
    name: `${pulumi.getOrganization()}/${pulumi.getProject()}/${pulumi.getStack()}`,
  });
  const output = await self.getOutputDetails("serving");
  return output.value as Serving | undefined;
}

/**
 * Refuses a change to the release in the slot that serves: its container would be replaced under its requests.
 * @throws {SettingsError} unless `togather:force` is set.
 */
export function refuseChangeInPlace(settings: Settings, serving: Serving | undefined): void {
  if (serving === undefined || settings.force) return;
  const wanted = settings.slots[serving.slot];
  const idle = serving.slot === "blue" ? "green" : "blue";
  const { version, commit } = serving.release;
  if (wanted !== undefined && plainRelease(wanted).commit === commit && wanted.version === version) return;
  throw new SettingsError([
    {
      where: `togather:slots.${serving.slot}`,
      what: `${serving.slot} serves ${version} (${commit.slice(0, 12)}) and can't be changed to ${wanted === undefined ? "nothing" : `${wanted.version} (${wanted.commit.slice(0, 12)})`} in place`,
      fix: `leave ${serving.slot} as it was, put the release into togather:slots.${idle} and set togather:activeSlot ${idle}; or accept an interruption with pulumi config set togather:force true`,
    },
  ]);
}
