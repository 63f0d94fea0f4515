import * as z from "zod";
import { releaseSchema, slotNameSchema } from "../slots.ts";
import { containerStep } from "../step.ts";

export const historySteps = {
  /**
   * Opens a deployment: an id `YYYYMMDD_HHMMSS_<short commit>`, its log, an "in_progress" line in the history. An
   * earlier deployment that never ended is recorded as failed ("interrupted"). Later steps of the same run find the id
   * in current.json. It is no Pulumi input, which would re-run everything.
   */
  begin: containerStep({
    network: "none",
    joinsRouter: () => true,
    writesHistory: true,
    request: {
      activeSlot: slotNameSchema,
      slots: z.partialRecord(slotNameSchema, releaseSchema),
      /**
       * The operator's own program and arguments, for a release that fails or is sent back. The other steps read it
       * from current.json.
       */
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
      /** From `begin`: every deployment that was begun is also closed. */
      deploymentId: z.string(),
      activeSlot: slotNameSchema,
      /** The release that serves now. */
      release: releaseSchema,
      slots: z.partialRecord(slotNameSchema, releaseSchema),
      /** Number of logs of this deployment that are kept; the oldest are removed first. */
      logRetention: z.number().int().min(1),
      // The client reads who deployed (TOGATHER_DEPLOYED_BY, CI's variables, the user's name): as an input it would
      // make every other operator's `pulumi up` a change.
    },
    result: z.strictObject({ deploymentId: z.string(), file: z.string(), log: z.string() }),
    resource: { components: ["Record"], part: "entry", outputs: { file: "file" } },
    says: ({ deploymentId = "" }) => deploymentId,
  }),

  /**
   * Records a deployment's failure outside of the steps in containers: an image that can't be built, a container that
   * can't be created. It belongs to the open deployment; without one nothing is recorded.
   */
  fail: containerStep({
    network: "none",
    writesHistory: true,
    request: {
      /** The deployment that failed, where it is known: another one may have begun meanwhile. */
      deploymentId: z.string().optional(),
      /** The failed phase's name in the history. */
      phase: z.string(),
      slot: slotNameSchema.optional(),
      version: z.string().optional(),
      error: z.string(),
    },
    result: z.strictObject({ deploymentId: z.string().nullable() }),
  }),
};
