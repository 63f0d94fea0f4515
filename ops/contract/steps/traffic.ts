import * as z from "zod";
import { releaseSchema, slotNameSchema } from "../slots.ts";
import { clientStep, containerStep } from "../step.ts";
import { endpointCheckSchema, taskSchema } from "./release.ts";

const rolloutSchema = z.strictObject({
  /** Percentages of the requests that the new release gets, one after the other. Empty: all at once. */
  steps: z.array(z.number().min(1).max(100)),
  /** Time for which each step is watched. */
  intervalMs: z.number().int().min(0),
  /** Time for which the release is watched once it has all traffic. */
  bakeMs: z.number().int().min(0),
  /** The same client always gets the same slot. */
  sticky: z.boolean(),
  /** Requests of the router's log that are repeated to both slots before the first step. */
  replay: z
    .strictObject({
      /** Patterns of read-only paths. */
      paths: z.array(z.string()).min(1),
      /** Maximum number of requests. */
      requests: z.number().int().min(1),
    })
    .optional(),
});
/** The move of traffic to a new release. */
export type Rollout = z.infer<typeof rolloutSchema>;

export const standbyModes = ["running", "stopped", "removed"] as const;
/** The state of the slot that does not serve. */
export type StandbyMode = (typeof standbyModes)[number];

export const trafficSteps = {
  /**
   * Writes nginx's files into the router's volume beside the current ones, tests them with `nginx -t`, renames them,
   * and reloads a running nginx, unless only the certificate differs. TLS_CERTIFICATE and TLS_KEY (PEM) are passed in
   * the environment and written as tls/certificate.pem and tls/key.pem (mode 600). It never writes state/slot.json:
   * until the first switch the router answers 503.
   */
  router: clientStep({
    request: {
      /** Image with nginx, njs and nothing of this deployment. */
      image: z.string(),
      volume: z.string(),
      containerName: z.string(),
      /** File name in the configuration directory → content. */
      files: z.record(z.string(), z.string()),
    },
    result: z.strictObject({ digest: z.string(), reloaded: z.boolean() }),
    resource: { components: ["Router"], part: "configuration" },
  }),

  /**
   * Checks that the target slot is healthy now, stores the slot (fsync, rename), sets it in the running nginx through
   * its unix socket, and confirms it through the router (X-Togather-Slot and version); otherwise it undoes the switch.
   * Then it requests `checks` through the router; when they fail, all traffic goes back to where it was, and the step
   * fails. With a `rollout`, the target gets a growing share of the requests before the switch, and is watched for some
   * time after it: the step fails in the same way when the target does worse than the previous release.
   */
  switch: containerStep({
    network: "private",
    mounts: ["router"],
    // While a release is watched or asked, or a task runs, the router may be restarted, and its namespace with it.
    joinsRouter: ({ rollout: { steps, bakeMs, replay }, tasks }) =>
      steps.length === 0 && bakeMs === 0 && replay === undefined && tasks === undefined,
    request: {
      activeSlot: slotNameSchema,
      /** The release in the active slot. */
      release: releaseSchema,
      /** In the request so that a replaced router is switched and confirmed again. */
      routerContainerId: z.string(),
      /** Base URL of the target slot, and of the router in the private network. */
      slotUrl: z.string(),
      routerUrl: z.string(),
      healthPath: z.string(),
      /** Requested through the router after the switch. */
      checks: z.array(endpointCheckSchema),
      rollout: rolloutSchema,
      /**
       * Run after the checks, for a release that has not served before. A failure sends traffic back, or is a warning.
       */
      tasks: z.array(taskSchema.extend({ onFailure: z.enum(["send-back", "warn"]) })).optional(),
    },
    result: z.strictObject({
      from: slotNameSchema.nullable(),
      to: slotNameSchema,
      switchedAt: z.string(),
      durationMs: z.number(),
    }),
    ending: "switch",
    resource: { components: ["Switch"], part: "traffic", outputs: { activeSlot: "to" } },
    says: ({ from, to }) => {
      if (to === undefined) return "";
      if (from === to) return `${to} serves still`;
      return typeof from === "string" ? `traffic moved ${from} to ${to}` : `traffic goes to ${to}`;
    },
  }),

  /**
   * Runs on the operator's machine, after a deployment is recorded: starts or stops the slot that does not serve.
   * Before a stop (after which Pulumi may remove it), it waits until the slot has no open request, but not longer than
   * drainMs; then the slot gets SIGTERM. Never the slot that the router sends requests to.
   */
  standby: clientStep({
    request: {
      mode: z.enum(standbyModes),
      /**
       * The slot to stop, with its release. Null: keep both running (a later flip then changes nothing here). A release
       * that has not served yet is not stopped: somebody wants to look at it.
       */
      idle: z
        .strictObject({
          slot: slotNameSchema,
          release: releaseSchema.nullable(),
          /**
           * In the request so that a new container, after a rotated secret for instance, is stopped again. Null: there
           * is none.
           */
          containerId: z.string().nullable(),
        })
        .nullable(),
      drainMs: z.number().int().min(0),
    },
    result: z.strictObject({
      started: z.array(slotNameSchema),
      stopped: slotNameSchema.nullable(),
      /** Requests that were cut off: still open at the time limit. */
      open: z.number(),
      durationMs: z.number(),
    }),
    resource: { components: ["Standby"], part: "slot", outputs: { stopped: "stopped" } },
    says: ({ started = [], stopped }) =>
      typeof stopped === "string"
        ? `${stopped} drained and stopped`
        : started.length > 0
          ? `${started.join(", ")} started`
          : "",
  }),
};
