/** The router's counters of a slot's requests. */
import * as z from "zod";

const slotCountersSchema = z.object({
  requests: z.record(z.string(), z.number()),
  /** Answers by time until their first byte: one bucket for each bound, and one more. */
  buckets: z.array(z.number()),
  seconds: z.number(),
  /** Requests that clients gave up before an answer (499). */
  abandoned: z.number().default(0),
  /** Answers 401, 403 and 429. */
  refused: z.number().default(0),
  /** Requests that have waited at least 5 s for an answer, at this moment. */
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

/** A slot's requests in a period. */
export interface Sample {
  requests: number;
  /**
   * Requests with a status of 500 or more, requests that clients gave up without an answer, and requests that have hung
   * for 5 s.
   */
  errors: number;
  /** Requests with a status of 401, 403 or 429. */
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

/** The requests between two readings; all of the later reading where nginx was restarted in between. */
export function between(earlier: SlotCounters | undefined, later: SlotCounters, bounds: number[]): Sample {
  const all = sampleOf(later, bounds);
  if (earlier === undefined) return all;
  // Requests that hung at the earlier reading have ended since and are counted by their end, or still hang.
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

/** Adds two samples of the same slot. */
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

/** The number of answers that took longer than a bucket's bound. */
export function slowerThan({ buckets }: Sample, bucket: number): number {
  return sum(buckets.slice(bucket + 1));
}

export function answered({ buckets }: Sample): number {
  return sum(buckets);
}
