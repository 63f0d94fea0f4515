/** A release in the program, with its kind: parsed from a setting, and formatted for storage. */
import { isSameRelease, parseSource, printSource } from "../ops/contract/release.ts";
import type { Release, SlotName } from "../ops/contract/steps.ts";
import type { ReleaseSetting } from "./schema/stack-settings.ts";

/** The release of a slot, with its source. */
export interface SlotRelease {
  version: string;
  source:
    /** A git commit of the source repository: at least its first seven digits. */
    | { kind: "commit"; id: string }
    /** Files without history, by the hash of their contents. */
    | { kind: "tree"; id: string }
    /** An image that is pulled, by its digest; `reference` is `name@sha256:…`. */
    | { kind: "image"; id: string; reference: string };
}

/** Parses a slot's setting. */
export function releaseOfSetting(setting: ReleaseSetting): SlotRelease {
  const { version } = setting;
  if ("image" in setting) {
    const { id } = parseSource(setting.image.slice(setting.image.indexOf("@") + 1));
    return { version, source: { kind: "image", id, reference: setting.image } };
  }
  const { kind, id } = parseSource(setting.commit);
  return { version, source: { kind: kind === "tree" ? "tree" : "commit", id } };
}

/** A stored release as a setting. Undefined for an image, which is stored by its digest alone, without its name. */
export function settingOfRelease(release: Release | undefined): ReleaseSetting | undefined {
  return release === undefined || parseSource(release.commit).kind === "image" ? undefined : release;
}

/** A release in the form of requests, labels and outputs: without the place that it comes from. */
export function plainRelease({ version, source }: SlotRelease): Release {
  return { version, commit: printSource(source) };
}

/** A setting in the form of requests, labels and outputs. */
export const plainSetting = (setting: ReleaseSetting): Release => plainRelease(releaseOfSetting(setting));

/** Settings of all slots with a release, in the form of requests, labels and outputs. */
export function plainSettings(slots: Partial<Record<SlotName, ReleaseSetting>>): Partial<Record<SlotName, Release>> {
  return Object.fromEntries(Object.entries(slots).map(([slot, setting]) => [slot, plainSetting(setting)]));
}

/** The releases of all slots that have one, in the form of requests, labels and outputs. */
export function plainReleases(slots: Partial<Record<SlotName, SlotRelease>>): Partial<Record<SlotName, Release>> {
  return Object.fromEntries(Object.entries(slots).map(([slot, release]) => [slot, plainRelease(release)]));
}

/**
 * Releases in the spelling with which they were deployed: a commit written in full is the same as an abbreviated one,
 * and must not change a step or a container.
 * @param deployed releases by slot, the most certain source first.
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
