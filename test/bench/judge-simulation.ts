/**
 * Simulates releases of known quality, judged by ops/container/traffic/judge.ts as in `ops switch`: how often the rule
 * is wrong. The figures are the same at each run.
 */
import { judge } from "../../ops/container/traffic/judge.ts";
import { between, routerBounds as bounds, type SlotCounters } from "../../ops/container/traffic/sample.ts";

/** Seconds that a release is watched with half of the requests. */
export const watched = 300;
/** Seconds until the router counts an unanswered request as hanging, and until its client gives up. */
const [hangsAfter, givenUpAfter] = [5, 30];

/** The quality of a release's answers. */
interface Quality {
  /** Shares of the requests, from 0 to 1. */
  errors?: number;
  refused?: number;
  hang?: number;
  /** Median of the answer times in seconds; log-normal, with a deviation of 0.8: 95 % take less than 3.7 times that. */
  median?: number;
  /** Additional seconds for a share of the requests. */
  late?: { share: number; seconds: number };
}

export interface Row {
  /** For people. */
  before: string;
  now: string;
  /** The right decision is to send it back. */
  worse: boolean;
  qualities: { before: Quality; now: Quality };
  /** The previous release had its requests earlier, none at the same time. */
  later?: true;
}

const percent = (share: number): string => `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
const usual: Quality = { median: 0.04 };
const shares = (
  what: "errors" | "refused" | "hang",
  pairs: readonly (readonly [before: number, now: number, worse: boolean, later?: true])[],
): Row[] =>
  pairs.map(([before, now, worse, later]) => ({
    ...{ before: percent(before), now: `${percent(now)}${later === undefined ? "" : ", in the bake"}`, worse },
    qualities: { before: { ...usual, [what]: before }, now: { ...usual, [what]: now } },
    ...(later && { later }),
  }));
const latency = (before: string, now: string, worse: boolean, of: { before?: Quality; now: Quality }): Row => ({
  ...{ before, now, worse },
  qualities: { before: { ...usual, ...of.before }, now: { ...usual, ...of.now } },
});

/** The tables of docs/benchmarks.md, by the difference between the releases. */
export const tables: Readonly<Record<string, readonly Row[]>> = {
  errors: shares("errors", [
    [0, 0, false],
    [0.01, 0.01, false],
    [0.05, 0.05, false],
    [0.2, 0.2, false],
    [0, 0.05, true],
    [0, 0.1, true],
    [0, 0.25, true],
    [0, 0.5, true],
    [0.05, 0.25, true],
  ]),
  hangs: shares("hang", [
    [0.01, 0.01, false],
    [0.1, 0.1, false],
    [0, 0.05, true],
    [0, 0.2, true],
    [0, 1, true],
  ]),
  refusals: shares("refused", [
    [0.02, 0.02, false],
    [0.3, 0.3, false],
    [0.02, 0.2, false, true],
    [0, 0.1, true],
    [0, 0.3, true],
    [0, 0.5, true, true],
    [0, 1, true],
  ]),
  latencies: [
    latency("40 ms", "40 ms", false, { now: {} }),
    latency("40 ms", "48 ms", false, { now: { median: 0.048 } }),
    latency("40 ms, 10 % 1 s more", "the same", false, {
      before: { late: { share: 0.1, seconds: 1 } },
      now: { late: { share: 0.1, seconds: 1 } },
    }),
    latency("40 ms", "60 ms", false, { now: { median: 0.06 } }),
    latency("40 ms", "120 ms", true, { now: { median: 0.12 } }),
    latency("40 ms", "200 ms", true, { now: { median: 0.2 } }),
    latency("40 ms", "400 ms", true, { now: { median: 0.4 } }),
    latency("40 ms", "40 ms, 20 % 1 s more", true, { now: { late: { share: 0.2, seconds: 1 } } }),
    latency("40 ms", "40 ms, 30 % 1 s more", true, { now: { late: { share: 0.3, seconds: 1 } } }),
    latency("400 ms", "2 s", true, { before: { median: 0.4 }, now: { median: 2 } }),
  ],
};
/** The columns: requests a minute, of both slots together. */
export const perMinute = [1, 10, 100, 1_000] as const;

/** Numbers from 0 to 1, the same at each run (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** A slot with the router's counters. */
class Slot {
  private readonly quality: Quality;
  private readonly random: () => number;
  private readonly counted: SlotCounters = {
    ...{ requests: { "2xx": 0, "4xx": 0, "5xx": 0 }, buckets: [...bounds, Infinity].map(() => 0), seconds: 0 },
    ...{ abandoned: 0, refused: 0, hanging: 0 },
  };
  /** Start times of unanswered requests, the oldest first. */
  private open: number[] = [];

  constructor(quality: Quality, random: () => number) {
    this.quality = quality;
    this.random = random;
  }

  request(second: number): void {
    const { errors = 0, refused = 0, hang = 0, median = 0.04, late } = this.quality;
    const what = this.random();
    if (what < hang) {
      this.open.push(second);
      return;
    }
    const status = what < hang + errors ? "5xx" : what < hang + errors + refused ? "4xx" : "2xx";
    this.counted.requests[status] = (this.counted.requests[status] ?? 0) + 1;
    if (status === "4xx") this.counted.refused += 1;
    // Box and Muller.
    const normal = Math.sqrt(-2 * Math.log(1 - this.random())) * Math.cos(2 * Math.PI * this.random());
    const seconds =
      median * Math.exp(0.8 * normal) + (late !== undefined && this.random() < late.share ? late.seconds : 0);
    const bucket = bounds.findIndex((bound) => seconds <= bound);
    const index = bucket < 0 ? bounds.length : bucket;
    this.counted.buckets[index] = (this.counted.buckets[index] ?? 0) + 1;
  }

  counters(second: number): SlotCounters {
    const givenUp = this.open.filter((since) => second - since >= givenUpAfter).length;
    this.open = this.open.slice(givenUp);
    this.counted.abandoned += givenUp;
    this.counted.requests["4xx"] = (this.counted.requests["4xx"] ?? 0) + givenUp;
    return { ...this.counted, hanging: this.open.filter((since) => second - since >= hangsAfter).length };
  }
}

/** Seconds until the release is sent back; undefined when it never is. */
function sentBackAfter(random: () => number, rate: number, { qualities, later }: Row): number | undefined {
  const [now, before] = [new Slot(qualities.now, random), new Slot(qualities.before, random)];
  const requestsOf = (): number => Math.floor(rate / 60) + (random() < (rate / 60) % 1 ? 1 : 0);
  if (later === true)
    for (let second = 1; second <= watched; second++)
      for (let left = requestsOf(); left > 0; left--) before.request(second - watched);
  for (let second = 1; second <= watched; second++) {
    for (let left = requestsOf(); left > 0; left--) (later === true || random() < 0.5 ? now : before).request(second);
    const seen = between(undefined, now.counters(second), bounds);
    if (judge(seen, between(undefined, before.counters(second), bounds), later !== true) !== undefined) return second;
  }
  return undefined;
}

/** Runs of each cell. */
export const runs = 200;

/**
 * The share of runs in which a release is sent back in time, and in brackets the median of the seconds until then.
 * @param column index in `perMinute`.
 */
export function cell(row: Row, column: number): string {
  const index = Object.values(tables).flat().indexOf(row);
  const random = randomNumbers(1 + index * perMinute.length + column);
  const times = Array.from({ length: runs }, () => sentBackAfter(random, perMinute[column] ?? 0, row))
    .filter((time) => time !== undefined)
    .sort((a, b) => a - b);
  return times.length === 0 ? "0 %" : `${percent(times.length / runs)} (${times[Math.floor(times.length / 2)]})`;
}

/** A row's first two cells. */
export function headOf({ before, now, worse }: Row): [string, string] {
  return [before, `${now}${worse ? ", worse" : ""}`];
}
