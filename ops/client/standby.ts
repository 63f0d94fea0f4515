/**
 * `standby`, on the operator's machine: keeps the slot that does not serve running, or drains and stops it. Its open
 * requests are counted by the router, which alone knows all of them.
 */
import { containerName } from "../contract/names.ts";
import * as z from "zod";
import type { StepContext } from "../contract/context.ts";
import {
  releaseSchema,
  slotNames,
  slotNameSchema,
  type SlotName,
  type StepRequest,
  type StepResult,
} from "../contract/steps.ts";
import { StepError } from "../contract/errors.ts";
import { isServed } from "../contract/slot-file.ts";
import { seconds } from "../contract/units.ts";
import { containerState, docker, lastLines, tryDocker } from "../host/docker.ts";

type Request = StepRequest<"standby">;

const containerOf = ({ name }: Request, slot: SlotName): string => containerName(name, slot);

/** Starts slots that an earlier standby mode had stopped: a flip then finds them running. */
async function startAll(request: Request, { log, signal }: StepContext): Promise<SlotName[]> {
  const started: SlotName[] = [];
  for (const slot of slotNames) {
    const container = containerOf(request, slot);
    const state = await containerState(container, signal);
    if (state === undefined || state.status === "running") continue;
    log.info(`standby: ${container} is ${state.status} and is started`);
    await docker(["start", container], { signal });
    started.push(slot);
  }
  return started;
}

const drainedSchema = z.object({ open: z.number() });

/**
 * Waits for the slot's open requests.
 * @returns the number that is left at the time limit.
 */
async function drain(request: Request, slot: SlotName, { log, signal }: StepContext): Promise<number> {
  const router = containerName(request.name, "router");
  const state = await containerState(router, signal);
  // Without a router there are no requests.
  if (state?.status !== "running") return 0;
  log.info(`standby: waiting for the requests that are open on ${slot}, ${request.drainMs / 1000} s at most`);
  const { ok, stdout, stderr } = await tryDocker(
    ["exec", router, "router-drain", slot, String(Math.ceil(request.drainMs / 1000))],
    { signal },
  );
  signal.throwIfAborted();
  if (!ok) {
    throw new StepError(
      `${slot} is not stopped: ${lastLines(stderr, 2) || "the router does not tell how many requests are open on it"}`,
      { hint: `docker logs --tail 20 ${router}` },
    );
  }
  const { open } = drainedSchema.parse(JSON.parse(stdout));
  if (open > 0)
    log.warn(
      `standby: ${open === 1 ? "a request is" : `${open} requests are`} still open on ${slot} after ${request.drainMs / 1000} s (togather:drainTimeout); ${open === 1 ? "it gets" : "they get"} what the server's own shutdown gives`,
    );
  return open;
}

const slotFileSchema = z.looseObject({ served: z.partialRecord(slotNameSchema, releaseSchema).optional() });

/** Whether a slot's release has had all traffic, and kept it. Unknown (a router of an older version) counts as yes. */
async function hasServed(
  request: Request,
  { slot, release }: NonNullable<Request["idle"]>,
  signal: AbortSignal,
): Promise<boolean> {
  const { ok, stdout } = await tryDocker(
    ["exec", containerName(request.name, "router"), "cat", "/router/state/slot.json"],
    { signal },
  );
  const served = ok ? slotFileSchema.safeParse(JSON.parse(stdout)).data?.served : undefined;
  if (served === undefined || release === null) return true;
  return isServed(served, slot, release);
}

async function stop(
  request: Request,
  idle: NonNullable<Request["idle"]>,
  context: StepContext,
): Promise<{ stopped: boolean; open: number }> {
  const { log, signal } = context;
  const { slot } = idle;
  const container = containerOf(request, slot);
  const before = await containerState(container, signal);
  if (before?.status !== "running") {
    log.info(`standby: ${slot} does not run`);
    return { stopped: false, open: 0 };
  }
  if (!(await hasServed(request, idle, signal))) {
    log.info(`standby: ${slot} has not served yet, and stays up to be looked at`);
    return { stopped: false, open: 0 };
  }
  const open = await drain(request, slot, context);
  // SIGTERM, and after the container's own stop timeout SIGKILL.
  await docker(["stop", container], { signal });
  const after = await containerState(container, signal);
  if (after !== undefined && after.exitCode !== 0) {
    log.warn(
      `standby: ${container} ended with exit code ${after.exitCode}${after.exitCode === 137 ? ": it did not end within its stop timeout and was killed" : ""}`,
      { hint: `docker logs --tail 20 ${container}` },
    );
  }
  return { stopped: true, open };
}

export async function run(request: Request, context: StepContext): Promise<StepResult<"standby">> {
  const started = performance.now();
  const { idle } = request;
  if (idle === null) {
    return {
      started: await startAll(request, context),
      stopped: null,
      open: 0,
      durationMs: Math.round(performance.now() - started),
    };
  }
  const { stopped, open } = await stop(request, idle, context);
  const durationMs = Math.round(performance.now() - started);
  if (stopped) context.log.info(`standby: ${idle.slot} is drained and stopped after ${seconds(durationMs)}`);
  return { started: [], stopped: stopped ? idle.slot : null, open, durationMs };
}
