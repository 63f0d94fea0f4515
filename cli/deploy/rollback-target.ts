import type { ReleaseSetting, StackSettings } from "../../config/schema/stack-settings.ts";
import type { Release, SlotName } from "../../ops/contract/steps.ts";
import { Failure } from "../failure.ts";
import type { Entry } from "../host/entries.ts";
import { invocation } from "../output.ts";
import type { Before } from "../../config/plan.ts";
import { plainSetting, settingOfRelease } from "../../config/release.ts";
import { describeRelease, isSameRelease, otherSlot } from "../../ops/contract/release.ts";

/** A rollback's changes to the stack file. */
export interface Rollback {
  activeSlot: SlotName;
  /** A slot to correct after a failed release, with the release that it held before. Undefined release: unknown. */
  restore: { slot: SlotName; release: ReleaseSetting | undefined } | undefined;
  /** The result of the rollback, as a sentence. */
  sentence: string;
  /** An earlier rollback gave up this release, and no other release has served since: there is nothing to do. */
  done?: Release & { /** Of its deployment. */ id: string };
  /** The release is in neither slot any more: it is put into the idle one again, where its image is still there. */
  kept?: Release & { /** Of its deployment. */ id: string };
}

/** Gives up a release that failed: traffic never moved, so that only the file has to be corrected. */
function giveUp(
  settings: Pick<StackSettings, "slots">,
  before: Before & { serving: NonNullable<Before["serving"]> },
): Rollback {
  const { slot: serving, release } = before.serving;
  const slot = otherSlot(serving);
  const wanted = settings.slots[slot];
  const held = before.slots[slot];
  const sentence = `${serving} goes on serving ${describeRelease(release)}`;
  if (wanted === undefined || isSameRelease(plainSetting(wanted), held))
    return { activeSlot: serving, restore: undefined, sentence };
  return {
    activeSlot: serving,
    restore: { slot, release: settingOfRelease(held) },
    sentence: `${sentence}; ${describeRelease(plainSetting(wanted))} is given up`,
  };
}

export interface RollbackChoice {
  /** The deployment of `--to`. Default: the release that served before. */
  target?: Entry | undefined;
  /** Earlier deployments from the host. Undefined: it can't be asked. */
  history?: readonly Entry[] | undefined;
  /** The releases that had all traffic and kept it, as the router reports them. Empty: unknown. */
  served?: Partial<Record<SlotName, Release>> | undefined;
}

/**
 * Whether a slot's release never served: it failed, traffic was sent back from it, or its slot was filled without a
 * switch.
 */
function neverServed(
  slot: SlotName,
  release: Release,
  { history = [], served = {} }: Pick<RollbackChoice, "history" | "served">,
): boolean {
  if (isSameRelease(served[slot], release)) return false;
  const deployments = history.filter(
    ({ version, commit }) =>
      version !== undefined && commit !== undefined && isSameRelease({ version, commit }, release),
  );
  if (deployments.some(({ status }) => status === "succeeded")) return false;
  // A host that has lost its history is no reason to refuse the rollback.
  return deployments.length > 0 || Object.keys(served).length > 0;
}

type Served = Release & { slot: SlotName; id: string };

/**
 * The release that was given up for the one that serves: traffic went back to the earlier slot. Undefined: something
 * else has served since.
 */
function givenUpFor(serving: NonNullable<Before["serving"]>, history: readonly Entry[]): Served | undefined {
  const served = history
    .flatMap(({ id, status, slot, version, commit, endedAt }) =>
      status === "succeeded" &&
      slot !== undefined &&
      version !== undefined &&
      commit !== undefined &&
      endedAt !== undefined
        ? [{ id, slot, version, commit, endedAt }]
        : [],
    )
    .sort((a, b) => (a.endedAt < b.endedAt ? -1 : 1));
  const isSame = (a: Served | undefined, b: Release & { slot: SlotName }): boolean =>
    a?.slot === b.slot && isSameRelease(a, b);
  let now: Served | undefined;
  let before: Served | undefined;
  let givenUp: Served | undefined;
  for (const next of served) {
    // A deployment that moved no traffic.
    if (isSame(now, next)) continue;
    if (isSame(before, next)) [now, before, givenUp] = [next, undefined, now];
    // Into the slot that served, with --force.
    else if (now?.slot === next.slot) now = next;
    else [now, before, givenUp] = [next, now, undefined];
  }
  return isSame(now, { slot: serving.slot, ...serving.release }) ? givenUp : undefined;
}

/**
 * The target of a rollback.
 * @throws {Failure} when there is nothing to go back to.
 */
export function rollbackTarget(
  settings: Pick<StackSettings, "activeSlot" | "slots">,
  before: Before,
  stack: string,
  { target, history, served }: RollbackChoice = {},
): Rollback {
  const { serving, slots } = before;
  if (serving === undefined)
    throw new Failure(
      "config",
      "nothing has served yet, so there is nothing to go back to",
      invocation(`release --stack ${stack}`),
    );
  const pending = settings.activeSlot !== serving.slot;
  const idle = otherSlot(serving.slot);
  const held = slots[idle];

  const setting = settings.slots[idle];
  const intact = setting !== undefined && isSameRelease(plainSetting(setting), held);

  if (target === undefined) {
    // After traffic was sent back from a release, the file's slot is right again, and the release still in the other
    // slot.
    if (pending || (setting !== undefined && !intact)) return giveUp(settings, { ...before, serving });
    const last = givenUpFor(serving, history ?? []);
    if (last?.slot === idle && (held === undefined || isSameRelease(last, held))) {
      return {
        activeSlot: serving.slot,
        restore: undefined,
        sentence: `${serving.slot} serves ${describeRelease(serving.release)} since ${describeRelease(last)} was given up`,
        done: last,
      };
    }
    if (held !== undefined && neverServed(idle, held, { history, served })) {
      throw new Failure(
        "config",
        `${idle} holds ${describeRelease(held)}, which never served well: its deployment failed or was rolled back, or traffic was not moved to it`,
        `${invocation(`release REF --stack ${stack}`)}, with a release of ${invocation(`history --stack ${stack}`)}`,
      );
    }
  } else {
    const { id, version, commit, status } = target;
    if (status !== "succeeded" || version === undefined || commit === undefined)
      throw new Failure(
        "config",
        `${id} ${status === "in progress" ? "is in progress" : `${status}: it never served`}`,
        invocation(`history --stack ${stack}`),
      );
    const wanted = { version, commit };
    if (isSameRelease(wanted, serving.release)) return giveUp(settings, { ...before, serving });
    if (!isSameRelease(wanted, held)) {
      const again = settingOfRelease(wanted);
      if (again === undefined)
        throw new Failure(
          "config",
          `${describeRelease(wanted)} of ${id} is in neither slot any more: ${serving.slot} serves ${describeRelease(serving.release)}, ${idle} holds ${held === undefined ? "nothing" : describeRelease(held)}; of an image, only its digest is recorded`,
          invocation(`release NAME@${commit} --version ${version} --stack ${stack}`),
        );
      return {
        activeSlot: idle,
        restore: { slot: idle, release: again },
        sentence: `back to ${describeRelease(wanted)}, which is put into ${idle} again${held === undefined ? "" : ` in the place of ${describeRelease(held)}`}`,
        kept: { ...wanted, id },
      };
    }
  }
  if (held === undefined)
    throw new Failure(
      "config",
      `${idle} holds no release: ${describeRelease(serving.release)} is the first one that served`,
      invocation(`release REF --stack ${stack}`),
    );
  const back = intact ? undefined : settingOfRelease(held);
  if (!intact && back === undefined)
    throw new Failure(
      "config",
      `the stack file no longer has ${describeRelease(held)} in ${idle}, and only its digest is recorded`,
      invocation(`release NAME@${held.commit} --version ${held.version} --stack ${stack}`),
    );
  return {
    activeSlot: idle,
    restore: intact ? undefined : { slot: idle, release: back },
    sentence: `back to ${describeRelease(held)} in ${idle}`,
  };
}
