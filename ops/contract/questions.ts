/**
 * Questions of a step in the container to its client, which has a Docker client and the sources, with their answers.
 */
import * as z from "zod";
import { releaseSchema, slotNameSchema } from "./slots.ts";

/** Questions to run a task, one after the other. `go on` is answered once there is output, after a second at most. */
export const taskQuestionSchema = z.discriminatedUnion("do", [
  z.strictObject({
    do: z.literal("start a task"),
    slot: slotNameSchema.nullable(),
    database: z.string().optional(),
    command: z.array(z.string()),
  }),
  z.strictObject({ do: z.literal("go on with the task") }),
  z.strictObject({ do: z.literal("end the task") }),
]);
export type TaskQuestion = z.infer<typeof taskQuestionSchema>;

/** The client's answer: new output lines of the task, and its exit code once it has ended. */
export const taskAnswerSchema = z.union([
  z.strictObject({ lines: z.array(z.string()), exitCode: z.number().nullable() }),
  z.strictObject({ problem: z.string() }),
]);
export type TaskAnswer = z.infer<typeof taskAnswerSchema>;

/** Questions to start the release that serves against a copy of the database. */
export const servingQuestionSchema = z.discriminatedUnion("do", [
  z.strictObject({ do: z.literal("start the serving release"), database: z.string() }),
  z.strictObject({ do: z.literal("remove it") }),
]);
export type ServingQuestion = z.infer<typeof servingQuestionSchema>;

/** Address of the started release, or the reason why there is none. */
export const servingStartedSchema = z.union([
  z.strictObject({ host: z.string(), release: releaseSchema }),
  z.strictObject({ nothing: z.string() }),
  z.strictObject({ problem: z.string() }),
]);
export type ServingStarted = z.infer<typeof servingStartedSchema>;
/** The end of the server when it was removed. */
export const servingRemovedSchema = z.strictObject({ exitCode: z.number().nullable(), lines: z.array(z.string()) });
export type ServingRemoved = z.infer<typeof servingRemovedSchema>;

/** Asks for the migrations of the releases in the slots. */
export const knownQuestionSchema = z.strictObject({ do: z.literal("list the slots' migrations") });
export type KnownQuestion = z.infer<typeof knownQuestionSchema>;
/** Names of the `up` files of all releases in the slots. Null: none, or they can't be listed. */
export const knownAnswerSchema = z.union([
  z.strictObject({ files: z.array(z.string()).nullable() }),
  z.strictObject({ problem: z.string() }),
]);

/** Asks for recent requests to a slot, from the router's log. */
export const recentQuestionSchema = z.strictObject({
  do: z.literal("list recent requests"),
  slot: slotNameSchema,
  /** Patterns of paths. */
  paths: z.array(z.string()),
  requests: z.number().int(),
});
export type RecentQuestion = z.infer<typeof recentQuestionSchema>;
/** Paths, the oldest first, with host and port of the slot that answered them. Null: none. */
export const recentAnswerSchema = z.union([
  z.strictObject({ paths: z.array(z.string()), address: z.string().nullable() }),
  z.strictObject({ problem: z.string() }),
]);
export type RecentAnswer = z.infer<typeof recentAnswerSchema>;

/** Asks the client to run the operator's own command for a failed deployment. */
export const failureQuestionSchema = z.strictObject({
  do: z.literal("run the failure command"),
  /** Program and arguments. */
  command: z.array(z.string()).min(1),
  deploymentId: z.string(),
  /** "sent-back": traffic had moved, and is back where it was. */
  status: z.enum(["failed", "sent-back"]),
  phase: z.string(),
  error: z.string(),
  slot: z.string().optional(),
  version: z.string().optional(),
  commit: z.string().optional(),
});
