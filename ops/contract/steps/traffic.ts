import * as z from "zod";
import { releaseSchema, slotNameSchema } from "../slots.ts";
import { clientStep, containerStep } from "../step.ts";
import { endpointCheckSchema, taskSchema } from "./release.ts";

const rolloutSchema = z.strictObject({
  /** Percent of the requests that the new release gets, one after the other; none: all at once. */
  steps: z.array(z.number().min(1).max(100)),
  /** How long each step is watched. */
  intervalMs: z.number().int().min(0),
  /** How long the release is watched once it has all traffic. */
  bakeMs: z.number().int().min(0),
  /** The same client always gets the same slot. */
  sticky: z.boolean(),
  /** Requests of the router's log that both slots are asked once more, before the first step. */
  replay: z
    .strictObject({
      /** Patterns of paths that only read. */
      paths: z.array(z.string()).min(1),
      /** How many, at most. */
      requests: z.number().int().min(1),
    })
    .optional(),
});
/** How traffic moves to a new release. */
export type Rollout = z.infer<typeof rolloutSchema>;

export const standbyModes = ["running", "stopped", "removed"] as const;
/** What becomes of the slot that does not serve. */
export type StandbyMode = (typeof standbyModes)[number];

export const trafficSteps = {
  /**
   * Writes nginx's files into the router's volume beside the current ones, `nginx -t`s them, renames, and
   * reloads a running nginx, unless it is the certificate alone that differs. TLS_CERTIFICATE and TLS_KEY (PEM) come by environment and are written as tls/certificate.pem
   * and tls/key.pem (mode 600). It never writes state/slot.json: until the first switch the router answers 503.
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
   * Checks that the target slot is healthy now, persists the slot (fsync, rename), sets it in the running nginx
   * through its unix socket, confirms through the router (X-Togather-Slot and version), and undoes it when not confirmed.
   * Then it asks `checks` through the router; when they fail, all traffic goes back to where it was, and the step fails.
   * With a `rollout`, the target gets a growing share of the requests before, and is watched for some time after: it fails in
   * the same way when it does worse than the release before.
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
      /** Asked through the router after the switch. */
      checks: z.array(endpointCheckSchema),
      rollout: rolloutSchema,
      /** Run after that, for a release that has not served before. A failure sends traffic back, or is a warning. */
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
   * On the operator's machine, once a deployment is recorded: brings the slot that does not serve to what it is to
   * be. To be stopped (and then removed, by Pulumi), it is waited for until no request is open on it any more, but not longer than
   * drainMs; then it gets SIGTERM. Never the slot that the router sends requests to.
   */
  standby: clientStep({
    request: {
      mode: z.enum(standbyModes),
      /**
       * The slot that is to be stopped, and what it holds; null to keep both running: a flip then changes nothing here. A release that has not
       * served yet is not stopped: somebody wants to look at it.
       */
      idle: z
        .strictObject({
          slot: slotNameSchema,
          release: releaseSchema.nullable(),
          /** In the request so that a container that was made anew, for a rotated secret for instance, is stopped again; null where there is none. */
          containerId: z.string().nullable(),
        })
        .nullable(),
      drainMs: z.number().int().min(0),
    },
    result: z.strictObject({
      started: z.array(slotNameSchema),
      stopped: slotNameSchema.nullable(),
      /** Requests that were cut off: still open when the time was over. */
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
