/**
 * Compares the wanted, recorded and real state of a deployment: differences, and what mends them. Only this file knows
 * that: the program, its preview, `status` and `doctor` use it. It asks nobody and changes nothing.
 */
import { containerName } from "../ops/contract/names.ts";
import { slotNames, type Release, type SlotName } from "../ops/contract/steps.ts";
import type { Part } from "../ops/host/serving-slot.ts";
import { describeRelease, isSameRelease, otherSlot } from "../ops/contract/release.ts";
import type { Before } from "./plan.ts";
import type { StackSettings } from "./schema/stack-settings.ts";

/** The state that the stack file wants. */
export interface WantedNow {
  activeSlot: SlotName;
  slots: Partial<Record<SlotName, Release>>;
  standby: StackSettings["standby"];
  /** Whether the database is one of the deployment's own containers. */
  bundledDatabase: boolean;
}

/**
 * The state in deployment-state.json: the slot that serves, and its release. Undefined fields: there is no such file.
 */
export interface RecordedNow {
  activeSlot: SlotName | undefined;
  release?: Release | undefined;
}

/** The real state on the host. */
export interface RealNow {
  /** Undefined where there is no router. */
  router:
    | {
        /** The slot in nginx's memory. Undefined: it does not answer, or has none. */
        memory: SlotName | undefined;
        /** The slot that nginx starts with. Undefined: its file is missing or damaged. */
        file: SlotName | undefined;
        /** The reason why a request through it failed; null: it was answered. Undefined: no request was sent. */
        silence?: string | null | undefined;
      }
    | undefined;
  /** State of each existing container, in Docker's words. */
  states: Partial<Record<Part, string>>;
  /** Releases of the slots' containers, without containers that don't show theirs. */
  held: Partial<Record<SlotName, Release>>;
  /** Known releases of the slots: a slot with an entry but without a container has lost it. */
  had: Partial<Record<SlotName, Release>>;
}

type Slots = Partial<Record<SlotName, Release>>;

/**
 * Known releases of the slots. A slot that was emptied on purpose has served as well: the last deployment's slots show
 * that (from the stack's outputs or deployment-state.json). Without them, the releases that have served count.
 * @param known `without`: slots whose container Pulumi's state no longer has, where it was read.
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
  /** Another slot serves than wanted; `serves` undefined: none. */
  | { kind: "elsewhere"; serves: SlotName | undefined; wanted: SlotName; repair: "switch" }
  /** The router would start with another slot than the one that serves, or with none. */
  | { kind: "restart"; serves: SlotName; comesUpOn: SlotName | undefined; repair: "switch" }
  /** A container does not run that should. */
  | { kind: "down"; part: Part; state: string; repair: "start" }
  /** A container is missing: it was removed by hand (Pulumi's state still has it), or its release is still to come. */
  | { kind: "missing"; part: Part; release: Release | undefined; repair: "make" | "release" }
  /** A slot has another release than wanted. The slot that serves is not changed in place. */
  | {
      kind: "release";
      slot: SlotName;
      holds: Release | undefined;
      wants: Release | undefined;
      repair: "release" | "refused";
    }
  /** The record differs from what serves. */
  | {
      kind: "recorded";
      recorded: SlotName | undefined;
      /** The recorded release, where the slot is right and its release differs. */
      release?: Release | undefined;
      serves: SlotName;
      repair: "record";
    }
  /**
   * The router runs, and a request through it failed; `slot` is the one that it was sent to. Only people can find out
   * why.
   */
  | { kind: "silent"; slot: SlotName | undefined; silence: string; repair: "none" };

/** Containers that run, or will by themselves, or are being removed. */
const runningStates: readonly string[] = ["running", "restarting", "removing"];
/** Start order: the servers need their database, and the router needs the servers. */
const order: readonly Part[] = ["database", "blue", "green", "router"];

/** The slot that takes requests, or would if nginx ran. */
export const servedBy = ({ router }: Pick<RealNow, "router">): SlotName | undefined => router?.memory ?? router?.file;

/**
 * All differences, in the order in which they are mended.
 * @param recorded undefined: not read.
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
  // An idle slot stays stopped or removed where that is wanted. The slot that is to serve is started by its gate.
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

/** The slots whose container is missing; an `up` creates it again with its former release. */
export const goneSlots = (found: readonly Difference[]): SlotName[] =>
  found.flatMap((one) =>
    one.kind === "missing" && one.repair === "make" && one.part !== "database" && one.part !== "router"
      ? [one.part]
      : [],
  );

/**
 * The starting point of a deployment, from the real state.
 * @param served the release of each slot that took over all traffic and kept it.
 */
export function startOf(wanted: WantedNow, real: RealNow, served = real.had): Before {
  const found = differences(wanted, undefined, real);
  const gone = goneSlots(found);
  const slot = servedBy(real);
  const idle = otherSlot(wanted.activeSlot);
  const slots = { ...real.held };
  for (const one of gone) slots[one] = wanted.slots[one];
  // An idle slot that is to be removed has no container.
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

/** Whether deployment-state.json does not name what serves: it was lost, or could not be written. */
export const isRecordWrong = (found: readonly Difference[]): boolean => found.some(({ kind }) => kind === "recorded");

/** The difference that keeps requests from the slot that is to serve, as a sentence. Undefined: none. */
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
 * A difference as a sentence.
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
