import { describeRelease, isSameRelease, otherSlot } from "../ops/contract/release.ts";
import { slotNames, type Release, type SlotName } from "../ops/contract/steps.ts";
import { rolloutWords } from "./schema/rollout.ts";
import type { StackSettings } from "./schema/stack-settings.ts";

/** The slot and release that take requests, from the stack's own last outputs. */
export interface Serving {
  slot: SlotName;
  release: Release;
}

/** The starting point of a deployment: the outputs of the last successful one. */
export interface Before {
  serving: Serving | undefined;
  slots: Partial<Record<SlotName, Release>>;
  /**
   * The release of each slot that took over all traffic and kept it, as the router reports it. Undefined: not asked;
   * then the releases in the slots count.
   */
  served?: Partial<Record<SlotName, Release>> | undefined;
  /** Slots whose container is missing, and is created again with its former release. Missing: not asked. */
  gone?: readonly SlotName[] | undefined;
  /** False: nothing answers; the slot that is to serve has to be started, or its container created again. */
  answers?: boolean | undefined;
}

/** The wanted state. */
export interface Wanted {
  activeSlot: SlotName;
  slots: Partial<Record<SlotName, Release>>;
  skipMigrations: boolean;
  force: boolean;
  /** The move of traffic to a new release. Default: all at once. */
  rollout?: StackSettings["rollout"];
  /** The state of the slot that has served. Default: it runs on. */
  standby?: StackSettings["standby"];
  /** Files of the migrations that will run. Undefined: not examined. */
  migrations?: readonly string[] | undefined;
}

/**
 * The slot of the release whose migrations would run: the one that is to serve, or the other one where only that
 * changes.
 */
export function releasedSlot(
  held: Before["slots"],
  { activeSlot, slots }: Pick<Wanted, "activeSlot" | "slots">,
): SlotName {
  const changes = (slot: SlotName): boolean => {
    const setting = slots[slot];
    return setting !== undefined && !isSameRelease(setting, held[slot]);
  };
  return !changes(activeSlot) && changes(otherSlot(activeSlot)) ? otherSlot(activeSlot) : activeSlot;
}

/** `2 migrations` */
const migrationsText = (count: number): string =>
  count === 0 ? "no migrations" : `${count} ${count === 1 ? "migration" : "migrations"}`;

/**
 * The plan of a deployment, a sentence for each change: "green gets v1.4.0 (1a2b3c4)", "traffic moves blue to green".
 */
export function planSentences(
  { serving, slots, served = slots, gone = [], answers = true }: Before,
  wanted: Wanted,
): string[] {
  const sentences: string[] = [];
  let releases = 0;
  const wantedIn = (slot: SlotName): Release | undefined => wanted.slots[slot];
  for (const slot of slotNames) {
    const next = wantedIn(slot);
    const held = slots[slot];
    if (next !== undefined && gone.includes(slot)) {
      sentences.push(`${slot}'s container is gone, and is made again with ${describeRelease(next)}`);
      continue;
    }
    if (isSameRelease(next, held)) continue;
    const inPlace = serving?.slot === slot ? ", in place, while it serves: this interrupts traffic" : "";
    if (next === undefined) {
      sentences.push(`${slot} is emptied${held === undefined ? "" : `, ${describeRelease(held)} goes`}${inPlace}`);
    } else {
      releases += 1;
      sentences.push(`${slot} gets ${describeRelease(next)}${inPlace}`);
    }
  }
  if (releases > 0 && wanted.skipMigrations) sentences.push("no snapshot, no migrations");
  else if (releases > 0 && wanted.migrations !== undefined) sentences.push(migrationsText(wanted.migrations.length));
  const { activeSlot } = wanted;
  if (serving === undefined) sentences.push(`traffic starts on ${activeSlot}`);
  else if (serving.slot !== activeSlot)
    sentences.push(
      `traffic moves ${serving.slot} to ${activeSlot}${wanted.rollout === undefined || isSameRelease(wantedIn(activeSlot), served[activeSlot]) ? "" : rolloutWords(wanted.rollout)}`,
    );
  else sentences.push(answers ? `traffic stays on ${activeSlot}` : `traffic comes back to ${activeSlot}`);
  if (
    serving !== undefined &&
    serving.slot !== activeSlot &&
    wanted.standby !== undefined &&
    wanted.standby !== "running"
  )
    sentences.push(`then ${serving.slot} is drained and ${wanted.standby}`);
  return sentences;
}

/** The plan in one line. */
export const planLine = (before: Before, wanted: Wanted): string => planSentences(before, wanted).join("; ");
