import * as z from "zod";
import { releaseSchema, slotNameSchema } from "../slots.ts";
import { containerStep } from "../step.ts";

export const historySteps = {
  /**
   * Opens a deployment: an id `YYYYMMDD_HHMMSS_<short commit>`, its log, an "in_progress" line in the history.
   * A deployment that was in progress before and never ended is recorded as failed ("interrupted"). Later steps of the
   * same run find the id in current.json, so that ids need not pass through Pulumi inputs (they would re-run everything).
   */
  begin: containerStep({
    network: "none",
    joinsRouter: () => true,
    writesHistory: true,
    request: {
      activeSlot: slotNameSchema,
      slots: z.partialRecord(slotNameSchema, releaseSchema),
      /** The operator's own, program and arguments, for when it fails or is sent back. It reaches the other steps by current.json. */
      failureCommand: z.array(z.string()).min(1).optional(),
    },
    result: z.strictObject({ deploymentId: z.string(), startedAt: z.string() }),
    resource: { components: ["Begin"], part: "entry", outputs: { deploymentId: "deploymentId" } },
    says: ({ deploymentId = "" }) => deploymentId,
  }),

  /** Writes deployment-state.json, closes the deployment in the history, logs SUCCESS. */
  record: containerStep({
    network: "none",
    joinsRouter: () => true,
    writesHistory: true,
    request: {
      /** From `begin`: whenever a deployment was begun, it is also closed. */
      deploymentId: z.string(),
      activeSlot: slotNameSchema,
      /** The release that serves now. */
      release: releaseSchema,
      slots: z.partialRecord(slotNameSchema, releaseSchema),
      /** How many logs of this deployment are kept; the oldest go first. */
      logRetention: z.number().int().min(1),
      // Who deployed is read by the client (TOGATHER_DEPLOYED_BY, CI's variables, the user's name): as an input it would
      // make every other operator's `pulumi up` a change.
    },
    result: z.strictObject({ deploymentId: z.string(), file: z.string(), log: z.string() }),
    resource: { components: ["Record"], part: "entry", outputs: { file: "file" } },
    says: ({ deploymentId = "" }) => deploymentId,
  }),

  /**
   * Writes down that a deployment has failed where no step in a container could: an image that can't be built, a container that
   * can't be made. It is the open one's; without one there is nothing to write down.
   */
  fail: containerStep({
    network: "none",
    writesHistory: true,
    request: {
      /** The deployment that is meant, where that is known: another one may have begun meanwhile. */
      deploymentId: z.string().optional(),
      /** What failed, as the history calls it. */
      phase: z.string(),
      slot: slotNameSchema.optional(),
      version: z.string().optional(),
      error: z.string(),
    },
    result: z.strictObject({ deploymentId: z.string().nullable() }),
  }),
};
