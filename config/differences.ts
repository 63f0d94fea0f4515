/**
 * Where what is wanted, what is recorded and what is there differ, and what mends it. The one place that knows: the program, its preview,
 * `status` and `doctor` go by it. It asks nobody and changes nothing.
 */
import { containerName } from "../ops/contract/names.ts";
import { slotNames, type Release, type SlotName } from "../ops/contract/steps.ts";
import type { Part } from "../ops/host/serving-slot.ts";
import { describeRelease, isSameRelease, otherSlot } from "../ops/contract/release.ts";
import type { Before } from "./plan.ts";
import type { StackSettings } from "./schema/stack-settings.ts";

/** What the stack file wants. */
export interface WantedNow {
  activeSlot: SlotName;
  slots: Partial<Record<SlotName, Release>>;
  standby: StackSettings["standby"];
  /** Whether the database is one of the deployment's own containers. */
  bundledDatabase: boolean;
}

/** What deployment-state.json says: which slot serves, and what; undefined in it where there is no such file. */
export interface RecordedNow {
  activeSlot: SlotName | undefined;
  release?: Release | undefined;
}

/** What is there. */
export interface RealNow {
  /** Undefined where there is no router. */
  router:
    | {
        /** Where nginx sends requests; undefined where it does not answer, or sends them nowhere. */
        memory: SlotName | undefined;
        /** What it comes up on; undefined where its file is not there, or damaged. */
        file: SlotName | undefined;
        /** Why a request through it came to nothing, in words; null where one was answered. Undefined where nobody has sent any. */
        silence?: string | null | undefined;
      }
    | undefined;
  /** How each container is, in Docker's words; without those that are not there. */
  states: Partial<Record<Part, string>>;
  /** What the slots' containers were made of; without those that don't tell. */
  held: Partial<Record<SlotName, Release>>;
  /** What is known to have been in the slots: a container that is missing was removed then. */
  had: Partial<Record<SlotName, Release>>;
}

type Slots = Partial<Record<SlotName, Release>>;

/**
 * What is known to have been in the slots. A slot that was emptied has served as well: what the last deployment has left tells that, by the
 * stack's outputs or deployment-state.json; where nobody has kept it, what has served.
 * @param known `without`: slots whose container Pulumi's state has no more, where somebody has looked.
 */
export function hadIn(known: { served: Slots; left?: Slots | undefined; without?: readonly SlotName[] }): Slots {
  const { served, left = {}, without = [] } = known;
  const had = Object.keys(left).length > 0 ? left : served;
  return Object.fromEntries(
    slotNames.flatMap((slot) => (had[slot] === undefined || without.includes(slot) ? [] : [[slot, had[slot]]])),
  );
}

/** One difference, with the kind of its repair by the next `up`. */
export type Difference =
  /** Another slot serves than is wanted; none, where `serves` is undefined. */
  | { kind: "elsewhere"; serves: SlotName | undefined; wanted: SlotName; repair: "switch" }
  /** The router would come up on another slot than serves, or on none. */
  | { kind: "restart"; serves: SlotName; comesUpOn: SlotName | undefined; repair: "switch" }
  /** A container that is to run does not. */
  | { kind: "down"; part: Part; state: string; repair: "start" }
  /** A container that is to be there and is not: it was removed by hand (Pulumi's state has it still), or is one of a release that is still to come. */
  | { kind: "missing"; part: Part; release: Release | undefined; repair: "make" | "release" }
  /** A slot holds something else than is wanted. What serves is not changed in place. */
  | {
      kind: "release";
      slot: SlotName;
      holds: Release | undefined;
      wants: Release | undefined;
      repair: "release" | "refused";
    }
  /** Something else is recorded than serves. */
  | {
      kind: "recorded";
      recorded: SlotName | undefined;
      /** Where the slot is right: what is recorded in it, and is not what it holds. */
      release?: Release | undefined;
      serves: SlotName;
      repair: "record";
    }
  /** The router runs, and a request through it came to nothing; `slot` is the one that it was sent to. Only people can tell why. */
  | { kind: "silent"; slot: SlotName | undefined; silence: string; repair: "none" };

/** Containers that run, or will by themselves, or are about to go. */
const runningStates: readonly string[] = ["running", "restarting", "removing"];
/** Each waits for those before it: the servers for their database, and the router for what it sends requests to. */
const order: readonly Part[] = ["database", "blue", "green", "router"];

/** The slot that takes requests, or would if nginx ran. */
export const servedBy = ({ router }: Pick<RealNow, "router">): SlotName | undefined => router?.memory ?? router?.file;

/**
 * All differences, in the order in which they are mended.
 * @param recorded undefined where nobody has looked.
 */
export function differences(wanted: WantedNow, recorded: RecordedNow | undefined, real: RealNow): Difference[] {
  const { router, states } = real;
  const serves = servedBy(real);
  // Before the first deployment nothing is missing.
  if (router === undefined && Object.keys(states).length === 0) return [];
  const isWanted = (part: Part): boolean => {
    if (part === "database") return wanted.bundledDatabase;
    return part === "router" || wanted.slots[part] !== undefined;
  };
  // One that does not serve stays stopped or away where that is wanted; the one that is to serve has its gate, which starts it.
  const isToRun = (part: Part): boolean =>
    isWanted(part) && (part === "database" || part === "router" || part === serves || wanted.standby === "running");
  const isToBe = (part: Part): boolean =>
    isWanted(part) &&
    (part === "database" || part === "router" || part === wanted.activeSlot || wanted.standby !== "removed");

  const missing = (part: Part): Difference => {
    if (part === "database" || part === "router") return { kind: "missing", part, release: undefined, repair: "make" };
    const release = wanted.slots[part];
    const was = part === serves || (wanted.standby !== "removed" && isSameRelease(real.had[part], release));
    return { kind: "missing", part, release, repair: was ? "make" : "release" };
  };

  const found: Difference[] = [];
  for (const part of order) {
    const state = states[part];
    if (state === undefined) {
      if (isToBe(part)) found.push(missing(part));
    } else if (isToRun(part) && !runningStates.includes(state))
      found.push({ kind: "down", part, state, repair: "start" });
  }
  for (const slot of slotNames) {
    const [holds, wants] = [real.held[slot], wanted.slots[slot]];
    if (states[slot] === undefined || (wants !== undefined && (holds === undefined || isSameRelease(wants, holds))))
      continue;
    found.push({ kind: "release", slot, holds, wants, repair: slot === serves ? "refused" : "release" });
  }
  if (router === undefined) return found;
  if (serves !== wanted.activeSlot)
    found.push({ kind: "elsewhere", serves, wanted: wanted.activeSlot, repair: "switch" });
  if (router.memory !== undefined && router.memory !== router.file)
    found.push({ kind: "restart", serves: router.memory, comesUpOn: router.file, repair: "switch" });
  if (serves !== undefined && recorded !== undefined) {
    const [has, holds] = [recorded.release, real.held[serves]];
    if (recorded.activeSlot !== serves)
      found.push({ kind: "recorded", recorded: recorded.activeSlot, serves, repair: "record" });
    else if (has !== undefined && holds !== undefined && !isSameRelease(holds, has))
      found.push({ kind: "recorded", recorded: serves, release: has, serves, repair: "record" });
  }
  if (typeof router.silence === "string" && runningStates.includes(states.router ?? ""))
    found.push({ kind: "silent", slot: router.memory, silence: router.silence, repair: "none" });
  return found;
}

/** The slots whose container is gone, and which an `up` makes again with what they held. */
export const goneSlots = (found: readonly Difference[]): SlotName[] =>
  found.flatMap((one) =>
    one.kind === "missing" && one.repair === "make" && one.part !== "database" && one.part !== "router"
      ? [one.part]
      : [],
  );

/**
 * What a deployment starts from, by what is there.
 * @param served the release of each slot that took over all traffic and kept it.
 */
export function startOf(wanted: WantedNow, real: RealNow, served = real.had): Before {
  const found = differences(wanted, undefined, real);
  const gone = goneSlots(found);
  const slot = servedBy(real);
  const idle = otherSlot(wanted.activeSlot);
  const slots = { ...real.held };
  for (const one of gone) slots[one] = wanted.slots[one];
  // A slot that is not to serve has no container where it is to be removed.
  if (wanted.standby === "removed" && slot !== idle) slots[idle] = wanted.slots[idle];
  const release = slot && (slots[slot] ?? real.had[slot]);
  const isDown = found.some(
    (one) => (one.kind === "down" || one.kind === "missing") && (one.part === "router" || one.part === slot),
  );
  return {
    serving: slot && release && { slot, release },
    slots,
    served,
    gone,
    answers: !isDown,
  };
}

/** Whether deployment-state.json does not say what serves: it was lost, or could not be written. */
export const isRecordWrong = (found: readonly Difference[]): boolean => found.some(({ kind }) => kind === "recorded");

/** What of the differences keeps requests from the slot that is to serve, in a sentence; undefined where nothing does. */
export function trafficProblem(
  found: readonly Difference[],
  names: { name: string; file: string },
): string | undefined {
  const problem =
    found.find((one) => (one.kind === "down" || one.kind === "missing") && one.part === "router") ??
    found.find(({ kind }) => kind === "silent") ??
    found.find(({ kind }) => kind === "elsewhere");
  if (problem === undefined) return undefined;
  const text = differenceText(problem, names);
  return problem.kind === "elsewhere" && problem.serves !== undefined ? text : `nothing serves: ${text}`;
}

/**
 * A difference in a sentence.
 * @param file name of the stack file.
 */
export function differenceText(difference: Difference, { name, file }: { name: string; file: string }): string {
  switch (difference.kind) {
    case "elsewhere":
      return `${file} wants ${difference.wanted} to serve, ${difference.serves === undefined ? "the router has no slot to send requests to" : `${difference.serves} does`}`;
    case "restart":
      return difference.comesUpOn === undefined
        ? "the router would come up without a slot after a restart: its state/slot.json is not there, or damaged"
        : `the router would come up on ${difference.comesUpOn} after a restart`;
    case "down":
      return `${containerName(name, difference.part)} is ${difference.state}`;
    case "missing": {
      const { part, release } = difference;
      if (part === "database" || part === "router")
        return `the ${part} has no container (${containerName(name, part)})`;
      return `${part} has no container, ${file} wants ${release === undefined ? "a release" : describeRelease(release)} in it`;
    }
    case "release": {
      const holds = difference.holds === undefined ? "a container" : describeRelease(difference.holds);
      return `${difference.slot} runs ${holds}, ${file} wants ${difference.wants === undefined ? "nothing in it" : describeRelease(difference.wants)}`;
    }
    case "recorded":
      if (difference.release !== undefined)
        return `deployment-state.json says that ${difference.serves} holds ${describeRelease(difference.release)}, which is not what serves`;
      return difference.recorded === undefined
        ? `deployment-state.json is not there, or can't be read; the router sends requests to ${difference.serves}`
        : `deployment-state.json says that ${difference.recorded} serves, the router sends requests to ${difference.serves}`;
    case "silent":
      return difference.slot === undefined
        ? `the router has no slot to send requests to (${difference.silence})`
        : `the router sends requests to ${difference.slot}, which does not answer (${difference.silence}): docker logs ${containerName(name, difference.slot)}`;
  }
}
