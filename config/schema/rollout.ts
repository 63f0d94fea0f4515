import * as z from "zod";
import type { Rollout } from "../../ops/contract/steps.ts";
import { duration, milliseconds } from "./duration.ts";

/** Longest that a release may be watched at a time: a deployment holds its lock for as long. */
const watched = duration("24h");

/** `togather:rollout`: how traffic moves to a new release. */
export const rolloutSchema = z
  .strictObject({
    /** Percent of the requests, one after the other. None: all at once. */
    steps: z
      .array(z.number().min(1).max(100))
      .refine((steps) => steps.every((step, i) => i === 0 || step > (steps[i - 1] ?? 0)), {
        error: (issue) =>
          `expected percentages that grow, such as [5, 25, 50, 100], found ${JSON.stringify(issue.input)}`,
      })
      .default([]),
    /** How long each step is watched. */
    interval: watched.default("60s"),
    /** How long the release is watched once it has all traffic. */
    bake: watched.default("0s"),
    /** The same client address always gets the same slot. */
    sticky: z.boolean().default(false),
  })
  .prefault({});
type RolloutSettings = z.infer<typeof rolloutSchema>;

/** As the switch takes it. */
export function rolloutOf({ steps, interval, bake, sticky }: RolloutSettings): Rollout {
  return { steps, intervalMs: milliseconds(interval), bakeMs: milliseconds(bake), sticky };
}

/** In words, behind "traffic moves blue to green"; empty for all at once. */
export function rolloutWords({ steps, interval, bake }: RolloutSettings): string {
  const shares = steps.filter((percent) => percent < 100);
  return `${shares.length === 0 ? "" : `, by ${shares.join(", ")} and 100 %, ${interval} each`}${milliseconds(bake) === 0 ? "" : `, and is watched for ${bake}`}`;
}
