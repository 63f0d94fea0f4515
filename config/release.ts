/** A release as the program has it, with its kind: read from a setting, and printed as it is stored. */
import { isSameRelease, parseSource, printSource } from "../ops/contract/release.ts";
import type { Release, SlotName } from "../ops/contract/steps.ts";
import type { ReleaseSetting } from "./schema/stack-settings.ts";

/** What a slot is to run, and where it comes from. */
export interface SlotRelease {
  version: string;
  source:
    /** A git commit of the source repository: the first seven of its digits at least. */
    | { kind: "commit"; id: string }
    /** Files without history, by the hash of their contents. */
    | { kind: "tree"; id: string }
    /** An image that is pulled, by its digest; `reference` is `name@sha256:…`. */
    | { kind: "image"; id: string; reference: string };
}

/** Reads a slot's setting. */
export function releaseOfSetting(setting: ReleaseSetting): SlotRelease {
  const { version } = setting;
  if ("image" in setting) {
    const { id } = parseSource(setting.image.slice(setting.image.indexOf("@") + 1));
    return { version, source: { kind: "image", id, reference: setting.image } };
  }
  const { kind, id } = parseSource(setting.commit);
  return { version, source: { kind: kind === "tree" ? "tree" : "commit", id } };
}

/** A stored release as a setting; undefined for an image, which is stored by its digest alone, without its name. */
export function settingOfRelease(release: Release | undefined): ReleaseSetting | undefined {
  return release === undefined || parseSource(release.commit).kind === "image" ? undefined : release;
}

/** A release as requests, labels and outputs have it: what it is, not where it comes from. */
export function plainRelease({ version, source }: SlotRelease): Release {
  return { version, commit: printSource(source) };
}

/** A setting as requests, labels and outputs have it. */
export const plainSetting = (setting: ReleaseSetting): Release => plainRelease(releaseOfSetting(setting));

/** Settings of all slots that hold a release, as requests, labels and outputs have them. */
export function plainSettings(slots: Partial<Record<SlotName, ReleaseSetting>>): Partial<Record<SlotName, Release>> {
  return Object.fromEntries(Object.entries(slots).map(([slot, setting]) => [slot, plainSetting(setting)]));
}

/** The releases of all slots that hold one, as requests, labels and outputs have them. */
export function plainReleases(slots: Partial<Record<SlotName, SlotRelease>>): Partial<Record<SlotName, Release>> {
  return Object.fromEntries(Object.entries(slots).map(([slot, release]) => [slot, plainRelease(release)]));
}

/**
 * Releases as they were spelled when they were deployed: a commit that is written out in full, or cut short, is the same one, and
 * no step and no container is told otherwise.
 * @param deployed releases by slot, the surest first.
 */
export function asDeployed(
  slots: Partial<Record<SlotName, SlotRelease>>,
  ...deployed: (Partial<Record<SlotName, Release>> | undefined)[]
): Partial<Record<SlotName, SlotRelease>> {
  return Object.fromEntries(
    Object.entries(slots).map(([slot, release]) => {
      const before = deployed
        .map((one) => one?.[slot as SlotName])
        .find((one) => one && isSameRelease(one, plainRelease(release)));
      return [
        slot,
        before === undefined
          ? release
          : { ...release, source: { ...release.source, id: parseSource(before.commit).id } },
      ];
    }),
  );
}
