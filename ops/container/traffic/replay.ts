/**
 * Repeats requests of the router's log to both slots before any traffic moves: where there is little traffic, a canary
 * proves nothing. Only GET, only paths that the operator declares read-only, without any data of a visitor; each slot
 * at its own address, never through the router.
 */
import { containerName } from "../../contract/names.ts";
import type { CommandContext } from "../../contract/context.ts";
import { StepError } from "../../contract/errors.ts";
import { recentAnswerSchema, type RecentQuestion } from "../../contract/questions.ts";
import type { SlotName, StepRequest } from "../../contract/steps.ts";
import { ask } from "./http.ts";
import { judge, minimumRequests } from "./judge.ts";
import { routerBounds as bounds, type Sample } from "./sample.ts";

/**
 * Longest wait for one answer (the time after which the router counts a request as hanging), and for all of them, in
 * ms.
 */
const [answerMs, allMs] = [5_000, 60_000];

/** An answer: its status (0: none) and its duration. */
export interface Replayed {
  status: number;
  seconds: number;
}

const emptySample = (): Sample => ({
  ...{ requests: 0, errors: 0, refused: 0, bounds },
  buckets: [...bounds, Infinity].map(() => 0),
});
const isError = ({ status }: Replayed): boolean => status === 0 || status >= 500;

/**
 * Samples of both slots' answers to the same requests, for the judge. A request that the old slot answers well (1xx to
 * 3xx) and the new one with a 4xx counts as an error of the new one: the request was the same.
 */
export function samplesOf(pairs: readonly { now: Replayed; before: Replayed }[]): { now: Sample; before: Sample } {
  const [now, before] = [emptySample(), emptySample()];
  for (const pair of pairs) {
    const worse = pair.now.status >= 400 && pair.before.status > 0 && pair.before.status < 400;
    for (const [sample, answer, failed] of [
      [now, pair.now, isError(pair.now) || worse],
      [before, pair.before, isError(pair.before)],
    ] as const) {
      sample.requests += 1;
      if (failed) sample.errors += 1;
      if (answer.status === 0) continue;
      const bucket = bounds.findIndex((bound) => answer.seconds <= bound);
      const index = bucket < 0 ? bounds.length : bucket;
      sample.buckets[index] = (sample.buckets[index] ?? 0) + 1;
    }
  }
  return { now, before };
}

async function answerOf(base: URL, path: string, signal: AbortSignal): Promise<Replayed> {
  const started = performance.now();
  // Set, not parsed: a path can never name another host.
  const url = new URL(base);
  url.pathname = path;
  const status = await ask(url, { signal, limitMs: answerMs }).then(
    (answer) => answer.status,
    () => {
      signal.throwIfAborted();
      return 0;
    },
  );
  return { status, seconds: (performance.now() - started) / 1000 };
}

/**
 * Asks both slots, one request after the other, and judges the answers.
 * @throws {StepError} when the new release does worse. Nothing was changed.
 */
export async function replayRequests(
  { request, from }: { request: StepRequest<"switch">; from: SlotName },
  { log, signal, ask: askClient }: Pick<CommandContext, "log" | "signal" | "ask">,
): Promise<void> {
  const { rollout, activeSlot: to, release, slotUrl, name } = request;
  if (rollout.replay === undefined) return;
  const question: RecentQuestion = { do: "list recent requests", slot: from, ...rollout.replay };
  const recent = recentAnswerSchema.parse(await askClient(question));
  if ("problem" in recent) {
    log.warn(`replay: the router's log can't be read, nothing is replayed: ${recent.problem}`);
    return;
  }
  const { paths, address } = recent;
  if (address === null || paths.length < minimumRequests) {
    log.warn(
      `replay: ${paths.length} requests of ${from} in the router's log may be replayed; fewer than ${minimumRequests} say nothing`,
    );
    return;
  }
  log.info(`replay: ${paths.length} requests of the router's log are asked of ${to} and ${from}`);
  const pairs: { now: Replayed; before: Replayed }[] = [];
  const started = performance.now();
  for (const path of paths) {
    if (performance.now() - started > allMs) {
      log.warn(`replay: ${pairs.length} of ${paths.length} requests took ${allMs / 1000} s: the rest is left out`);
      break;
    }
    const before = await answerOf(new URL(`http://${address}`), path, signal);
    const now = await answerOf(new URL(slotUrl), path, signal);
    pairs.push({ now, before });
  }
  const { now, before } = samplesOf(pairs);
  const verdict = judge(now, before);
  if (verdict !== undefined)
    throw new StepError(
      `${to} (${release.version}) does worse than ${from} with requests of the router's log: ${verdict}. No traffic has moved: ${from} serves`,
      { hint: `docker logs ${containerName(name, to)}` },
    );
  log.info(`replay: ${now.requests} requests, ${now.errors} failed on ${to}, ${before.errors} on ${from}`);
}
