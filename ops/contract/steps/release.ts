import * as z from "zod";
import { releaseSchema, slotNameSchema } from "../slots.ts";
import { clientStep, containerStep } from "../step.ts";

export const endpointCheckSchema = z.strictObject({ path: z.string(), status: z.number().int() });
/** A path of the server, and the status that it is to answer with. */
export type EndpointCheck = z.infer<typeof endpointCheckSchema>;

export const taskSchema = z.strictObject({
  name: z.string(),
  /** Program and arguments, as a container takes them: no shell. */
  command: z.array(z.string()).min(1),
  timeoutMs: z.number().int().min(1),
});
/** A command that the operator wants run with a release. */
export type Task = z.infer<typeof taskSchema>;

export const gateCheckNames = ["database", "migrations", "http", "jobs"] as const;

export const releaseSteps = {
  /** Asks the slot itself, not the router, whether it may serve: database, schema version, HTTP, jobs, version. */
  gate: containerStep({
    network: "private",
    request: {
      slot: slotNameSchema,
      release: releaseSchema,
      containerName: z.string(),
      /** In the request so that a replaced container is gated again; the client watches it and fails at once when it exits. */
      containerId: z.string(),
      /** Base URL of the slot in the private network, e.g. http://10.213.3.10:8080. */
      url: z.string(),
      healthPath: z.string(),
      /** Attempts after the grace period, and seconds between them. */
      retries: z.number().int(),
      intervalSeconds: z.number(),
      /** Seconds that a starting server is given before a failed attempt counts; it is polled meanwhile. */
      graceSeconds: z.number(),
      /** Lowest schema version the release needs; null when it has no migrations. */
      expectedMigration: z.number().nullable(),
      /** What to do with a container that was stopped: start it and gate it, or leave it as it is, where an idle slot is meant to be stopped. */
      whenStopped: z.enum(["start", "pass"]),
    },
    result: z.strictObject({
      attempts: z.number(),
      durationMs: z.number(),
      checks: z.record(z.enum(gateCheckNames), z.string()),
    }),
    ending: "gate",
    resource: { components: ["Waking", "Slot"], part: "gate", outputs: { attempts: "attempts" } },
    says: ({ attempts }) =>
      attempts === undefined ? "" : attempts === 0 ? "is stopped, and stays so" : `passed at attempt ${attempts}`,
  }),

  /**
   * Runs a command in a one-off container, made like that of the slot that is about to serve, before the switch. Not for a
   * release that has served and kept all traffic: a rollback is to be quick.
   */
  task: containerStep({
    network: "none",
    mounts: ["router"],
    request: {
      /** From `begin`: it runs once for each deployment. */
      deploymentId: z.string(),
      /** The slot that is to serve: the task's container is made like its own. */
      slot: slotNameSchema,
      release: releaseSchema,
      task: taskSchema,
    },
    result: z.strictObject({
      /** Why it was not run; null when it was. */
      skipped: z.string().nullable(),
      durationMs: z.number(),
    }),
    ending: "task",
    resource: { components: ["Task"], part: "run", outputs: { skipped: "skipped" } },
    says: ({ skipped }) => (typeof skipped === "string" ? `not run: ${skipped}` : ""),
  }),

  /**
   * Waits until the server of a development container answers, and shows what air and the server say meanwhile.
   * Fails at once when the source doesn't compile or the server ends.
   */
  develop: clientStep({
    request: {
      containerName: z.string(),
      /** In the request so that another container is waited for again. */
      containerId: z.string(),
      /** Port in the container. */
      port: z.number().int(),
      healthPath: z.string(),
      /** In the request so that the server is asked again when the schema has changed. */
      schemaVersion: z.number().nullable(),
      /** How long the first build may take, modules and all. */
      timeoutSeconds: z.number(),
    },
    result: z.strictObject({ status: z.number(), durationMs: z.number() }),
    ending: "gate",
    resource: { components: ["DevelopmentServer"], part: "wait" },
  }),
};
