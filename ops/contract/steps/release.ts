import * as z from "zod";
import { releaseSchema, slotNameSchema } from "../slots.ts";
import { clientStep, containerStep } from "../step.ts";

export const endpointCheckSchema = z.strictObject({ path: z.string(), status: z.number().int() });
/** A path of the server, and its expected status. */
export type EndpointCheck = z.infer<typeof endpointCheckSchema>;

export const taskSchema = z.strictObject({
  name: z.string(),
  /** Program and arguments for a container: no shell. */
  command: z.array(z.string()).min(1),
  timeoutMs: z.number().int().min(1),
});
/** An operator's command that runs with a release. */
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
      /**
       * In the request so that a replaced container is gated again. The client watches it and fails at once when it
       * exits.
       */
      containerId: z.string(),
      /** Base URL of the slot in the private network, e.g. http://10.213.3.10:8080. */
      url: z.string(),
      healthPath: z.string(),
      /** Attempts after the grace period, and seconds between them. */
      retries: z.number().int(),
      intervalSeconds: z.number(),
      /** Time for a starting server before a failed attempt counts, in seconds; it is polled meanwhile. */
      graceSeconds: z.number(),
      /** Lowest schema version that the release needs. Null: it has no migrations. */
      expectedMigration: z.number().nullable(),
      /**
       * The action for a stopped container: start it and gate it, or leave it as it is, where an idle slot is meant to
       * be stopped.
       */
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
   * Runs a command before the switch, in a one-off container like that of the slot that is about to serve. Not for a
   * release that has served and kept all traffic: a rollback must be quick.
   */
  task: containerStep({
    network: "none",
    mounts: ["router"],
    request: {
      /** From `begin`: it runs once for each deployment. */
      deploymentId: z.string(),
      /** The slot that is about to serve: the task's container is like its own. */
      slot: slotNameSchema,
      release: releaseSchema,
      task: taskSchema,
    },
    result: z.strictObject({
      /** The reason why it was not run. Null: it was. */
      skipped: z.string().nullable(),
      durationMs: z.number(),
    }),
    ending: "task",
    resource: { components: ["Task"], part: "run", outputs: { skipped: "skipped" } },
    says: ({ skipped }) => (typeof skipped === "string" ? `not run: ${skipped}` : ""),
  }),

  /**
   * Waits until the server of a development container answers, and shows the output of air and the server meanwhile.
   * Fails at once when the source doesn't compile or the server ends.
   */
  develop: clientStep({
    request: {
      containerName: z.string(),
      /** In the request so that a new container is waited for again. */
      containerId: z.string(),
      /** Port in the container. */
      port: z.number().int(),
      healthPath: z.string(),
      /** In the request so that the server is asked again when the schema has changed. */
      schemaVersion: z.number().nullable(),
      /** Time limit of the first build, including modules. */
      timeoutSeconds: z.number(),
    },
    result: z.strictObject({ status: z.number(), durationMs: z.number() }),
    ending: "gate",
    resource: { components: ["DevelopmentServer"], part: "wait" },
  }),
};
