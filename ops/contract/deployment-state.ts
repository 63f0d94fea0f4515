/**
 * Records of deployments in the directory /state: `current.json` (the current or last deployment), `history.jsonl` (one
 * event a line), `deployment-state.json` (the release that serves). People and other programs read them, so their keys
 * are the reference's: snake_case.
 */
import { isDeepStrictEqual } from "node:util";
import * as z from "zod";
import { releaseSchema, slotNameSchema } from "./slots.ts";

const slotsSchema = z.partialRecord(slotNameSchema, releaseSchema);
const environmentSchema = z.enum(["production", "staging", "development"]);

/** One run of one step. A step that was run again has several. */
export const phaseSchema = z.looseObject({
  phase: z.string(),
  /** The slot that it was for, where a step runs once for each. */
  slot: slotNameSchema.optional(),
  /** The release that it was for. */
  version: z.string().optional(),
  started_at: z.string(),
  duration_ms: z.number().optional(),
  status: z.enum(["running", "succeeded", "failed", "rolled_back"]),
  error: z.string().optional(),
  result: z.record(z.string(), z.unknown()).optional(),
});
export type Phase = z.infer<typeof phaseSchema>;

export const currentSchema = z.looseObject({
  deployment_id: z.string(),
  environment: environmentSchema,
  /** "rolled_back": it failed after traffic had moved, and traffic was sent back. */
  status: z.enum(["in_progress", "failed", "rolled_back", "succeeded"]),
  started_at: z.string(),
  /** Time at which it was begun again after a failure. */
  resumed_at: z.string().optional(),
  finished_at: z.string().optional(),
  active_slot: slotNameSchema,
  slots: slotsSchema,
  /** Phase and message of the failure, when status is "failed" or "rolled_back". */
  failed_phase: z.string().optional(),
  error: z.string().optional(),
  /** The operator's own program and arguments for a failure. */
  failure_command: z.array(z.string()).min(1).optional(),
  /** Time of its last run for this deployment; older versions of this project have written `true`. */
  failure_told: z.union([z.string(), z.boolean()]).optional(),
  phases: z.array(phaseSchema),
  /** Events of the last change for the history: one file can be written atomically, two can't. See `withLastEvents`. */
  last_events: z.lazy(() => z.array(historyEventSchema)).optional(),
});
export type Current = z.infer<typeof currentSchema>;

export const historyEventSchema = z.looseObject({
  time: z.string(),
  event: z.enum(["in_progress", "resumed", "failed", "rolled_back", "succeeded"]),
  deployment_id: z.string(),
  environment: environmentSchema,
  active_slot: slotNameSchema.optional(),
  version: z.string().optional(),
  git_commit: z.string().optional(),
  phase: z.string().optional(),
  slot: slotNameSchema.optional(),
  error: z.string().optional(),
  duration_ms: z.number().optional(),
  deployed_by: z.string().optional(),
});
export type HistoryEvent = z.infer<typeof historyEventSchema>;

export const deploymentStateSchema = z.looseObject({
  deployment_id: z.string(),
  environment: environmentSchema,
  active_slot: slotNameSchema,
  version: z.string(),
  git_commit: z.string(),
  /** Time at which the deployment began. */
  timestamp: z.string(),
  deployed_by: z.string(),
  previous_slot: slotNameSchema.nullable(),
  status: z.literal("succeeded"),
  finished_at: z.string(),
  /** Seconds; then milliseconds. */
  duration: z.number(),
  duration_ms: z.number(),
  slots: slotsSchema,
  phases: z.array(phaseSchema),
  /** The last snapshot of this deployment. */
  snapshot: z.strictObject({ file: z.string(), bytes: z.number(), sha256: z.string() }).nullable(),
  migration: z.strictObject({ from: z.number().nullable(), to: z.number().nullable() }).nullable(),
});
export type DeploymentState = z.infer<typeof deploymentStateSchema>;

/** The readable lines of a history; a line that a crash cut short is left out. */
export function parseHistory(text: string): HistoryEvent[] {
  return text.split("\n").flatMap((line) => {
    if (line.trim() === "") return [];
    try {
      return [historyEventSchema.parse(JSON.parse(line))];
    } catch {
      return [];
    }
  });
}

/** Events of the last change that the history lacks: their writer was killed, or had no room. */
export function missingEvents(history: readonly HistoryEvent[], current: Current | undefined): HistoryEvent[] {
  return (current?.last_events ?? []).filter((event) => !history.some((known) => isDeepStrictEqual(known, event)));
}

/** A history with all known events. */
export function withLastEvents(history: readonly HistoryEvent[], current: Current | undefined): HistoryEvent[] {
  return [...history, ...missingEvents(history, current)];
}
