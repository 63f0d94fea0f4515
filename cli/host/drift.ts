import { differences, differenceText, hadIn, type Difference, type WantedNow } from "../../config/differences.ts";
import { plainSettings } from "../../config/release.ts";
import { slotNames, type SlotName } from "../../ops/contract/steps.ts";
import type { PlainSettings, StackFile } from "../stack-file.ts";
import type { HostReport } from "./look.ts";

type Settings = Pick<PlainSettings, "activeSlot" | "slots"> & Partial<Pick<PlainSettings, "standby" | "database">>;

const bySlot = <T>(read: (slot: SlotName) => T | undefined): Partial<Record<SlotName, T>> =>
  Object.fromEntries(
    slotNames.flatMap((slot) => [read(slot)].flatMap((value) => (value === undefined ? [] : [[slot, value]]))),
  );

/** The state that the stack file wants on the host. */
export const wantedOf = ({ activeSlot, slots, standby = "running", database }: Settings): WantedNow => ({
  activeSlot,
  slots: plainSettings(slots),
  standby,
  bundledDatabase: database?.mode !== "external",
});

/** Differences between the stack file, the record, and the host. */
export function differencesOf(settings: Settings, { slots, router, states, state }: HostReport): Difference[] {
  return differences(
    wantedOf(settings),
    {
      activeSlot: state?.active_slot,
      release: state === undefined ? undefined : { version: state.version, commit: state.git_commit },
    },
    {
      router:
        router.state === undefined
          ? undefined
          : { memory: router.slot, file: router.persisted?.slot, silence: silenceOf(router) },
      states,
      held: bySlot((slot) => slots[slot].release),
      had: hadIn({ served: router.persisted?.served ?? {}, left: state?.slots }),
    },
  );
}

/** The reason why a request through the router failed. Null: it was answered, even by an unhealthy server. */
function silenceOf({ slot, health }: HostReport["router"]): string | null {
  const answered =
    slot !== undefined &&
    health !== undefined &&
    health.status !== "no answer" &&
    !(health.status === "unhealthy" && health.version === undefined);
  return answered ? null : (health?.detail ?? "no answer");
}

/** Differences as sentences. Empty: none. */
export const driftOf = (
  file: Pick<StackFile, "name">,
  { name }: Pick<PlainSettings, "name">,
  found: readonly Difference[],
): string[] => found.map((one) => differenceText(one, { name, file: file.name }));
