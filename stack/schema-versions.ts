import * as pulumi from "@pulumi/pulumi";
import type { Settings } from "../config/settings.ts";
import { plainRelease } from "../config/release.ts";
import { slotNames } from "../ops/contract/steps.ts";
import type { BlueGreenOutputs } from "./outputs.ts";

/** What the releases' own files tell, where no migration does: a restore of a schema that one of them can't use is refused then as well. */
export async function neededVersions({ slots, source }: Settings): Promise<BlueGreenOutputs["schemaVersions"]> {
  const { neededVersion } = await import("../ops/client/pending-migrations.ts");
  const found: BlueGreenOutputs["schemaVersions"] = {};
  for (const slot of slotNames) {
    const release = slots[slot];
    if (release === undefined || release.source.kind === "image") continue;
    const version = await neededVersion({
      repository: source.repository,
      commit: plainRelease(release).commit,
      path: source.migrations,
    });
    if (version !== undefined) found[slot] = pulumi.output(version);
  }
  return found;
}
