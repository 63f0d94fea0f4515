import type { Settings } from "../config/settings.ts";
import { plainRelease } from "../config/release.ts";
import { slotNames, type SlotName } from "../ops/contract/steps.ts";

/**
 * The schema versions from the releases' own files, where no migration runs. The gate then stops a release whose
 * migrations were not run, and a restore refuses a schema that one of the releases can't use.
 */
export async function neededVersions({ slots, source }: Settings): Promise<Partial<Record<SlotName, number | null>>> {
  const { neededVersion } = await import("../ops/client/pending-migrations.ts");
  const found: Partial<Record<SlotName, number | null>> = {};
  for (const slot of slotNames) {
    const release = slots[slot];
    if (release === undefined || release.source.kind === "image") continue;
    const version = await neededVersion({
      repository: source.repository,
      commit: plainRelease(release).commit,
      path: source.migrations,
    });
    if (version !== undefined) found[slot] = version;
  }
  return found;
}
