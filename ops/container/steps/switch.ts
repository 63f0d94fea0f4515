/**
 * `switch`: moves traffic to a slot. The slot is written to disk before nginx is told: after a crash at any moment the
 * router is on one slot or the other, and a restart comes up on the last decision. A canary's share is never written to
 * disk. When a release fails its trial after the switch, traffic goes back and the step fails.
 */
import { containerName } from "../../contract/names.ts";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { CommandContext, StepContext } from "../../contract/context.ts";
import type { SlotName, StepRequest, StepResult } from "../../contract/steps.ts";
import { messageOf, RolledBackError, StepError } from "../../contract/errors.ts";
import { ask, type AskOptions } from "../traffic/http.ts";
import { checkAfterSwitch } from "../traffic/post-switch.ts";
import { replayRequests } from "../traffic/replay.ts";
import { RouterControl } from "../traffic/router-control.ts";
import { otherSlot } from "../../contract/release.ts";
import { addSentBack, withoutSentBack } from "../../contract/sent-back.ts";
import { between, together, type Sample } from "../traffic/sample.ts";
import { readSlotFile, restoreSlotFile, slotText, writeSlotFile } from "../traffic/slot-file.ts";
import { isProved, printsIn, type Prints, type SlotState } from "../../contract/slot-file.ts";
import { confirm, healthProblem, openWitness, type Pass } from "../traffic/through-router.ts";
import { runTask, taskError } from "../release/tasks.ts";
import { seconds } from "../../contract/units.ts";
import { watchRelease } from "../traffic/watch.ts";

/**
 * Connections through the router that are open before the switch, and the same number of new ones after it: each must
 * reach the new slot.
 */
const connections = 4;

/** Longest wait for an answer of a release that is watched, in ms. Three missed answers in a row send it back. */
const watchAnswerMs = 2_000;

/** Hint for a router that does not work as it should. */
function routerLogs({ name }: { name: string }): string {
  return `docker logs --tail 20 ${containerName(name, "router")}`;
}

/** Moves traffic. A release that is sent back is remembered, and is not released again by itself. */
export async function run(request: StepRequest<"switch">, context: CommandContext): Promise<StepResult<"switch">> {
  try {
    return await move(request, context);
  } catch (error) {
    // A stop from outside is not the release's failure.
    if (error instanceof RolledBackError && !context.signal.aborted) {
      await noteSentBack(request, context, messageOf(error.cause ?? error)).catch((failure: unknown) => {
        context.log.warn(
          `it could not be written down that ${request.release.version} was sent back: ${messageOf(failure)}`,
        );
      });
    }
    throw error;
  }
}

const slotFileIn = ({ paths }: StepContext): string => join(paths.router, "state", "slot.json");

async function noteSentBack(
  { release, activeSlot }: StepRequest<"switch">,
  context: StepContext,
  why: string,
): Promise<void> {
  const file = slotFileIn(context);
  const known = await readSlotFile(file);
  // Nothing has served yet: whatever comes next is a first attempt.
  if (known === undefined) return;
  const { state } = known;
  // Entries of the slot's earlier containers no longer apply.
  const others = <T>(bySlot: Partial<Record<SlotName, T>>): Partial<Record<SlotName, T>> =>
    Object.fromEntries(Object.entries(bySlot).filter(([slot]) => slot !== activeSlot));
  await writeSlotFile(file, {
    ...state,
    served: others(state.served),
    proved: others(state.proved),
    sentBack: addSentBack(state.sentBack, release, why),
  });
}

/** A switch before it is made: the slot with traffic, the target, and what is known of the target's release. */
interface Move {
  change: Change;
  /** The change back, for a release that fails its trial. */
  back: Change;
  /** The slot file's state before; undefined where there is none. */
  persisted: SlotState | undefined;
  prints: Prints;
  /** The release had all traffic before, and kept it: it gets no trial, and its tasks don't run. */
  isKnown: boolean;
  /** Traffic goes back to a known release: that must be quick, and no trial undoes it. */
  isRollback: boolean;
  /** The release is to be watched. */
  isNew: boolean;
  /** It has all traffic, but the step that watched it was cut short: the rest of its trial is done now. */
  cutShort: boolean;
  /** The way past maintenance, and whether it was needed. */
  maintenance: { pass: Pass; met: boolean };
}

/** Asks the router and reads its file. */
async function lookAtMove(
  { activeSlot: to, release }: StepRequest<"switch">,
  context: CommandContext,
  control: RouterControl,
): Promise<Move> {
  const stateFile = slotFileIn(context);
  const running = await control.slot(context.signal);
  const { state: persisted, text } = (await readSlotFile(stateFile)) ?? {};
  const from = running ?? persisted?.slot ?? null;
  context.log.debug(`router: ${running ?? "no slot"} in nginx, ${persisted?.slot ?? "no slot"} on disk`);
  const change: Change = { from, to, running, persisted: text, stateFile, control };
  const known = persisted ?? { served: {}, proved: {} };
  const prints = printsIn(context.env);
  const isKnown = isProved(known, to, release, prints);
  const isRollback = from !== null && from !== to && isKnown;
  const before = from === to && !isKnown ? wayBackFrom(to, known, prints) : undefined;
  const back: Change =
    before === undefined || persisted === undefined
      ? change
      : {
          ...change,
          from: before,
          running: before,
          persisted: slotText({ ...persisted, slot: before, changedAt: new Date().toISOString() }),
        };
  const cutShort = before !== undefined;
  const isNew = from !== null && (from !== to || cutShort) && !isRollback;
  const maintenance = {
    met: false,
    pass: () => {
      maintenance.met = true;
      return control.pass();
    },
  };
  return { change, back, persisted, prints, isKnown, isRollback, isNew, cutShort, maintenance };
}

/**
 * Writes the file, tells nginx, and confirms it through the router. It is never abandoned half-way: a stop waits for
 * the few hundred milliseconds that it takes.
 * @returns the state that was written, or would have been.
 * @throws {StepError} after everything is put back.
 */
async function flip(
  request: StepRequest<"switch">,
  { change, persisted, maintenance }: Pick<Move, "change" | "persisted" | "maintenance">,
  witnesses: Awaited<ReturnType<typeof openWitness>>[],
  { log }: StepContext,
): Promise<SlotState> {
  const { from, to, running, stateFile, control } = change;
  const { version } = request.release;
  const switchedAt = new Date().toISOString();
  const state: SlotState = {
    slot: to,
    changedAt: from === to ? (persisted?.changedAt ?? switchedAt) : switchedAt,
    versions: { ...persisted?.versions, [to]: version },
    served: persisted?.served ?? {},
    proved: persisted?.proved ?? {},
    sentBack: persisted?.sentBack ?? [],
  };
  try {
    if (persisted?.slot !== to) await writeSlotFile(stateFile, state);
    if (running !== to) await control.set(to, version);
    await confirm({ ...request, pass: maintenance.pass }, witnesses);
  } catch (error) {
    // First the way back, then the message about it.
    const undone = await undoUnconfirmed(change, error, routerLogs(request));
    log.warn(`the switch to ${to} is not confirmed: ${messageOf(error)}`);
    throw undone;
  } finally {
    for (const witness of witnesses) witness.destroy();
  }
  return state;
}

/**
 * The checks, the tasks and the bake of a release that has all traffic now.
 * @param before the previous release's sample from the canary. Undefined: there was none.
 * @param atSwitch the router's counters before the switch. Undefined: nothing is watched.
 * @throws the reason for which it must be sent back.
 */
async function holdsUp(
  request: StepRequest<"switch">,
  { change: { to, control }, back, isKnown, isRollback, cutShort, maintenance }: Move,
  {
    before,
    atSwitch,
  }: { before: Sample | undefined; atSwitch: Awaited<ReturnType<RouterControl["counters"]>> | undefined },
  context: CommandContext,
): Promise<void> {
  const { log, signal } = context;
  const checks = isRollback ? [] : request.checks;
  await checkAfterSwitch({ ...request, checks, pass: maintenance.pass }, signal);
  if (checks.length > 0)
    log.info(
      `${to} passes the checks after the switch: ${checks.map(({ path, status }) => `${path} ${status}`).join(", ")}`,
    );
  if (!isKnown) await runTasks(request, context);
  if (atSwitch === undefined || back.from === null) return;
  if (cutShort) log.info(`${to} has not been watched to the end since it took over: that is made up for now`);
  await watchRelease({
    what: `${to} with all requests`,
    durationMs: request.rollout.bakeMs,
    slot: to,
    other: back.from,
    control,
    before: before ?? between(undefined, atSwitch[back.from], atSwitch.bounds),
    ask: () => askTarget(request, { limitMs: watchAnswerMs }),
    log,
    signal,
  });
}

/** Records that a release has proved itself. Where that fails, it serves all the same. */
async function noteProved(
  state: SlotState,
  { change: { to, stateFile }, persisted, prints }: Move,
  { release }: StepRequest<"switch">,
  { log }: StepContext,
): Promise<void> {
  const { [to]: print } = prints;
  const kept: SlotState = {
    ...state,
    served: { ...state.served, [to]: release },
    proved: { ...state.proved, ...(print === undefined ? {} : { [to]: print }) },
    sentBack: withoutSentBack(state.sentBack, release),
  };
  if (isDeepStrictEqual(persisted, kept)) return;
  await writeSlotFile(stateFile, kept).catch((error: unknown) => {
    log.warn(
      `${to} has proved itself, which could not be written down (${messageOf(error)}): a rollback to it is checked like a release`,
    );
  });
}

async function move(request: StepRequest<"switch">, context: CommandContext): Promise<StepResult<"switch">> {
  const { release, rollout } = request;
  const { log, signal, paths } = context;
  const started = performance.now();
  const control = new RouterControl(join(paths.router, "run", "control.sock"), routerLogs(request));

  await checkTarget(request, signal);
  const moving = await lookAtMove(request, context, control);
  const { change, back, isNew } = moving;
  const { from, to } = change;
  const isTried = isNew && from !== null && from !== to;
  if (isTried) await replayRequests({ request, from }, context);
  const trial = isTried ? await tryOut(change, request, context) : undefined;
  // Before any change: connections from before the switch must be moved by it, too.
  const witnesses = await Promise.all(Array.from({ length: connections }, () => openWitness(request)));
  const atSwitch = isNew && rollout.bakeMs > 0 ? await control.counters(signal) : undefined;

  signal.throwIfAborted();
  const state = await flip(request, moving, witnesses, context);
  const durationMs = Math.round(performance.now() - started);
  const what =
    from === to
      ? `${to} serves ${release.version} already`
      : `traffic goes to ${to} (${release.version}) now, ${from === null ? "the first slot to serve" : `${from} before`}`;
  log.info(`${what}; confirmed on ${connections} connections from before and ${connections} new ones`, {
    from,
    to,
    duration_ms: durationMs,
  });
  if (moving.maintenance.met)
    log.warn(
      `maintenance is on: ${to} was checked past it, and gets no public requests until it is off${isNew ? ". None of them has tried the release" : ""}`,
      { hint: "togather maintenance off" },
    );

  const confirmedAt = performance.now();
  try {
    await holdsUp(request, moving, { before: trial, atSwitch }, context);
  } catch (error) {
    const lasted = seconds(performance.now() - confirmedAt);
    throw await sendBack(
      back,
      signal.aborted ? signal.reason : error,
      `${to} (${release.version}) served for ${lasted}`,
      request,
    );
  }
  await noteProved(state, moving, request, context);
  return { from, to, switchedAt: state.changedAt, durationMs };
}

/**
 * Runs the tasks after the switch.
 * @throws {StepError} for a failed task, unless its failure is only a warning.
 */
async function runTasks(
  { tasks = [], activeSlot, release }: StepRequest<"switch">,
  context: CommandContext,
): Promise<void> {
  for (const task of tasks) {
    const { onFailure, ...one } = task;
    const end = await runTask(one, { slot: activeSlot }, context);
    if (end.problem === undefined) {
      context.log.info(`task ${task.name}: done in ${seconds(end.durationMs)}`);
      continue;
    }
    const failure = taskError(task.name, end, ", after the switch");
    if (onFailure === "send-back") throw failure;
    context.log.warn(`${failure.message}\n${activeSlot} (${release.version}) goes on serving (onFailure: warn)`);
  }
}

/**
 * The slot that traffic goes back to from one that serves and has not proved itself: the other one, if its
 * container has proved itself and is still the same.
 */
function wayBackFrom(
  slot: SlotName,
  { served, proved }: Pick<SlotState, "served" | "proved">,
  prints: Prints,
): SlotName | undefined {
  const other = otherSlot(slot);
  return proved[other] !== undefined && served[other] !== undefined && prints[other] === proved[other]
    ? other
    : undefined;
}

/**
 * Gives the target a growing share of the requests, and watches each step.
 * @returns the previous release's sample of that time; undefined when there are no steps.
 * @throws {RolledBackError} when the target does worse: it gets no requests any more.
 */
async function tryOut(
  change: Change,
  request: StepRequest<"switch">,
  { log, signal }: StepContext,
): Promise<Sample | undefined> {
  const { from, to, control } = change;
  const { release, rollout, activeSlot } = request;
  // The step with all requests is the switch itself.
  const steps = rollout.steps.filter((percent) => percent < 100);
  if (from === null || steps.length === 0) return undefined;
  let before: Sample | undefined;
  const started = performance.now();
  let percent = 0;
  try {
    for (percent of steps) {
      const renew = (): Promise<void> =>
        control.setCanary({ slot: activeSlot, percent, sticky: rollout.sticky, version: release.version });
      await renew();
      const { other } = await watchRelease({
        what: `${to} with ${percent} % of the requests`,
        durationMs: rollout.intervalMs,
        slot: to,
        other: from,
        control,
        ask: () => askTarget(request, { limitMs: watchAnswerMs }),
        renew,
        log,
        signal,
      });
      before = together(before, other);
    }
    return before;
  } catch (error) {
    const cause: unknown = signal.aborted ? signal.reason : error;
    const lasted = seconds(performance.now() - started);
    const ended = await control.endCanary().then(
      () => `all traffic goes to ${from} again`,
      (failure: unknown) => `the router could not be told (${messageOf(failure)}): its share lapses within 30 s`,
    );
    throw new RolledBackError(
      `${to} (${release.version}) got up to ${percent} % of the requests for ${lasted}, and ${ended}: ${messageOf(cause)}. ${from} serves`,
      { hint: slotLogs(request), cause },
    );
  }
}

/** A problem of the target itself, without the router: not healthy, or not the expected release. Undefined: none. */
async function askTarget(
  { slotUrl, healthPath, release }: StepRequest<"switch">,
  options: AskOptions = {},
): Promise<string | undefined> {
  return ask(new URL(healthPath, slotUrl), options).then(
    (answer) => healthProblem(answer, release),
    (error: unknown) => messageOf(error),
  );
}

async function checkTarget(request: StepRequest<"switch">, signal: AbortSignal): Promise<void> {
  const { activeSlot, slotUrl, healthPath } = request;
  const problem = await askTarget(request, { signal });
  signal.throwIfAborted();
  if (problem !== undefined) {
    // The container was stopped by somebody, or was configured to be stopped while it did not serve.
    const gone = /EHOSTUNREACH|ENETUNREACH/.test(problem);
    throw new StepError(
      `${activeSlot} can't take over at ${new URL(healthPath, slotUrl).href}: ${problem}${gone ? ": its container does not run" : ""}. Nothing was changed`,
      {
        hint: gone
          ? `docker start ${containerName(request.name, activeSlot)}, then run the same command again`
          : slotLogs(request),
      },
    );
  }
}

function slotLogs({ name, activeSlot }: { name: string; activeSlot: SlotName }): string {
  return `docker logs ${containerName(name, activeSlot)}`;
}

/** A switch's changes, with everything needed to undo them. */
interface Change {
  from: SlotName | null;
  to: SlotName;
  /** The slot in nginx's memory before the switch. */
  running: SlotName | null;
  /** The file's text before the switch. */
  persisted: string | undefined;
  stateFile: string;
  control: RouterControl;
}

/**
 * Restores the file and nginx.
 * @returns what could not be restored.
 */
async function putBack({ running, persisted, stateFile, control }: Change): Promise<string[]> {
  const failures: string[] = [];
  // The same order as before: the file, then nginx.
  await restoreSlotFile(stateFile, persisted).catch((failure: unknown) =>
    failures.push(`${stateFile}: ${messageOf(failure)}`),
  );
  // nginx may never have been told, or may be gone: then there is nothing to restore, and a restart reads the file.
  await control.set(running).catch((failure: unknown) => failures.push(`control socket: ${messageOf(failure)}`));
  return failures;
}

function notPutBack(what: string, failures: readonly string[], hint: string, cause: unknown): StepError {
  return new StepError(`${what} and could not be undone: ${failures.join("; ")}. The router may be on either slot`, {
    hint: `${hint}; the router's answers say which in X-Togather-Slot, and deploying again settles it`,
    cause,
  });
}

/** Undoes a switch that could not be confirmed, and says which slot has traffic. */
async function undoUnconfirmed(change: Change, cause: unknown, hint: string): Promise<StepError> {
  const { from, to } = change;
  const reason = messageOf(cause);
  const failures = await putBack(change);
  if (failures.length > 0) return notPutBack(`the switch to ${to} failed (${reason})`, failures, hint, cause);
  if (from === to)
    return new StepError(
      `${to} serves, but that can't be confirmed through the router: ${reason}. Nothing was changed`,
      { hint, cause },
    );
  return new StepError(
    `the switch to ${to} was undone: ${reason}. ${from === null ? "No slot serves, as before" : `Traffic is still on ${from}`}`,
    { hint, cause },
  );
}

/** Undoes a switch after traffic had moved. */
async function sendBack(
  change: Change,
  cause: unknown,
  served: string,
  request: StepRequest<"switch">,
): Promise<StepError> {
  const { from, to } = change;
  const reason = messageOf(cause);
  if (from === to)
    return new StepError(`${to} serves, but not as it should: ${reason}. Nothing was changed`, {
      hint: slotLogs(request),
      cause,
    });
  const failures = await putBack(change);
  if (failures.length > 0) return notPutBack(`${served} (${reason}),`, failures, routerLogs(request), cause);
  return new RolledBackError(
    `${served}, and all traffic was sent back: ${reason}. ${from === null ? "No slot serves, as before" : `${from} serves again`}`,
    { hint: slotLogs(request), cause },
  );
}
