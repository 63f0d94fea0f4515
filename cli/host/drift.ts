import { differences, differenceText, type Difference, type WantedNow } from "../../config/differences.ts";
import { plainSettings } from "../../config/release.ts";
import { slotNames, type SlotName } from "../../ops/contract/steps.ts";
import type { PlainSettings, StackFile } from "../stack-file.ts";
import type { HostReport } from "./look.ts";

type Settings = Pick<PlainSettings, "activeSlot" | "slots"> & Partial<Pick<PlainSettings, "standby" | "database">>;

const bySlot = <T>(read: (slot: SlotName) => T | undefined): Partial<Record<SlotName, T>> =>
  Object.fromEntries(
    slotNames.flatMap((slot) => [read(slot)].flatMap((value) => (value === undefined ? [] : [[slot, value]]))),
  );

/** What the stack file wants of the host. */
export const wantedOf = ({ activeSlot, slots, standby = "running", database }: Settings): WantedNow => ({
  activeSlot,
  slots: plainSettings(slots),
  standby,
  bundledDatabase: database?.mode !== "external",
});

/** Where what the stack file wants, what is recorded, and what is there differ. */
function differencesOf(settings: Settings, { slots, router, states, state }: HostReport): Difference[] {
  return differences(
    wantedOf(settings),
    { activeSlot: state?.active_slot },
    {
      router: router.state === undefined ? undefined : { memory: router.slot, file: router.persisted?.slot },
      states,
      held: bySlot((slot) => slots[slot].release),
      had: state?.slots ?? {},
    },
  );
}

/** The same in sentences. Empty when all agree. */
export function driftOf(
  file: Pick<StackFile, "name">,
  settings: Settings & Pick<PlainSettings, "name">,
  report: HostReport,
): string[] {
  return differencesOf(settings, report).map((one) => differenceText(one, { name: settings.name, file: file.name }));
}
