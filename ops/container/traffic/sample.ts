/** What the router has counted of a slot's requests. */
import * as z from "zod";

const slotCountersSchema = z.object({
  requests: z.record(z.string(), z.number()),
  /** Answers by time until their first byte, as many as there are bounds and one more. */
  buckets: z.array(z.number()),
  seconds: z.number(),
  /** Requests that clients gave up before there was an answer (499). */
  abandoned: z.number().default(0),
  /** Answers 401, 403 and 429. */
  refused: z.number().default(0),
  /** Requests that have had no answer for at least 5 s, at this moment. */
  hanging: z.number().default(0),
});
export const countersSchema = z.object({
  blue: slotCountersSchema,
  green: slotCountersSchema,
  /** Seconds. */ bounds: z.array(z.number()),
});
/** Since nginx started, by slot. */
export type Counters = z.infer<typeof countersSchema>;
export type SlotCounters = z.infer<typeof slotCountersSchema>;

/** Upper bounds of the router's buckets, in seconds: the same as in components/nginx/router.js. */
export const routerBounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** A slot's requests in some time. */
export interface Sample {
  requests: number;
  /** Those that ended with a status of 500 or more, that clients gave up without an answer, or that have hung for 5 s. */
  errors: number;
  /** Those that were answered with 401, 403 or 429. */
  refused: number;
  buckets: number[];
  /** Upper bounds of the buckets, in seconds. */
  bounds: number[];
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

function sampleOf({ requests, buckets, abandoned, refused, hanging }: SlotCounters, bounds: number[]): Sample {
  return {
    requests: sum(Object.values(requests)) + hanging,
    errors: (requests["5xx"] ?? 0) + abandoned + hanging,
    refused,
    buckets,
    bounds,
  };
}

/** What came between two readings; all of the later one where nginx was restarted in between. */
export function between(earlier: SlotCounters | undefined, later: SlotCounters, bounds: number[]): Sample {
  const all = sampleOf(later, bounds);
  if (earlier === undefined) return all;
  // What hung then has ended since, and is counted by how it ended, or hangs still.
  const before = sampleOf({ ...earlier, hanging: 0 }, bounds);
  if (before.requests > all.requests || before.buckets.length !== all.buckets.length) return all;
  return {
    requests: all.requests - before.requests,
    errors: all.errors - before.errors,
    refused: all.refused - before.refused,
    buckets: all.buckets.map((count, i) => count - (before.buckets[i] ?? 0)),
    bounds,
  };
}

/** Two times of the same slot as one. */
export function together(a: Sample | undefined, b: Sample): Sample {
  if (a === undefined) return b;
  return {
    requests: a.requests + b.requests,
    errors: a.errors + b.errors,
    refused: a.refused + b.refused,
    buckets: b.buckets.map((count, i) => count + (a.buckets[i] ?? 0)),
    bounds: b.bounds,
  };
}

/** How many answers took longer than a bucket's bound. */
export function slowerThan({ buckets }: Sample, bucket: number): number {
  return sum(buckets.slice(bucket + 1));
}

export function answered({ buckets }: Sample): number {
  return sum(buckets);
}
