import * as z from "zod";
import type { Rollout } from "../../ops/contract/steps.ts";
import { duration, milliseconds } from "./duration.ts";

/** Longest time for which a release may be watched: the deployment holds its lock all the time. */
const watched = duration("24h");

/** `togather:rollout`: the move of traffic to a new release. */
export const rolloutSchema = z
  .strictObject({
    /** Percentages of the requests, one after the other. Empty: all at once. */
    steps: z
      .array(z.number().min(1).max(100))
      .refine((steps) => steps.every((step, i) => i === 0 || step > (steps[i - 1] ?? 0)), {
        error: (issue) =>
          `expected percentages that grow, such as [5, 25, 50, 100], found ${JSON.stringify(issue.input)}`,
      })
      .default([]),
    /** Time for which each step is watched. */
    interval: watched.default("60s"),
    /** Time for which the release is watched once it has all traffic. */
    bake: watched.default("0s"),
    /** The same client address always gets the same slot. */
    sticky: z.boolean().default(false),
    /**
     * GET requests of the router's log that are repeated to the new and the old release before any traffic moves.
     * Default: none.
     */
    replay: z
      .strictObject({
        /** Read-only paths: `*` matches any part of a segment, `**` any rest. */
        paths: z
          .array(
            z.string().regex(/^\/[^?#\s]*$/, {
              error: (issue) =>
                `expected a path that begins with / and has no query, such as /events/*, found ${JSON.stringify(issue.input)}`,
            }),
          )
          .min(1),
        /** Maximum number of requests. */
        requests: z.number().int().min(20).max(1_000).default(200),
      })
      .optional(),
  })
  .prefault({});
type RolloutSettings = z.infer<typeof rolloutSchema>;

/** The rollout in the form of the switch's request. */
export function rolloutOf({ steps, interval, bake, sticky, replay }: RolloutSettings): Rollout {
  return {
    ...{ steps, intervalMs: milliseconds(interval), bakeMs: milliseconds(bake), sticky },
    ...(replay === undefined ? {} : { replay }),
  };
}

/** The rollout in words, after "traffic moves blue to green"; empty for all at once. */
export function rolloutWords({ steps, interval, bake, replay }: RolloutSettings): string {
  const asked = replay === undefined ? "" : `, after up to ${replay.requests} requests of the router's log`;
  const shares = steps.filter((percent) => percent < 100);
  return `${asked}${shares.length === 0 ? "" : `, by ${shares.join(", ")} and 100 %, ${interval} each`}${milliseconds(bake) === 0 ? "" : `, and is watched for ${bake}`}`;
}
