import { isDeepStrictEqual } from "node:util";
import type { CommandContext } from "../../contract/context.ts";
import type { StepRequest, StepResult } from "../../contract/steps.ts";
import { historyEvent, reopened } from "../history/deployment.ts";
import { deploymentIdOf } from "../../contract/deployment-id.ts";
import { shortCommit } from "../../contract/release.ts";
import { messageOf, StepError } from "../../contract/errors.ts";
import { isDiskFull } from "../files.ts";
import { StateStore } from "../history/state-store.ts";
import { type Current, type HistoryEvent } from "../../contract/deployment-state.ts";

/**
 * Opens a deployment. An open one with the same slots goes on under its own id. One with other slots that is still in
 * progress is recorded as interrupted.
 */
export async function run(request: StepRequest<"begin">, context: CommandContext): Promise<StepResult<"begin">> {
  const store = new StateStore(context.paths.state);
  const { activeSlot, slots, environment, failureCommand } = request;
  const release = slots[activeSlot];
  if (release === undefined) throw new StepError(`slot ${activeSlot} is to serve, but holds no release`);
  const { current, resumed } = await store.exclusively(async () => {
    const now = new Date();
    const last = await store.current();
    const open = last !== undefined && last.status !== "succeeded";
    if (open && last.active_slot === activeSlot && isDeepStrictEqual(last.slots, slots)) {
      const current: Current = { ...reopened(last), resumed_at: now.toISOString(), failure_command: failureCommand };
      await written(context, () => store.writeCurrent(current, [historyEvent("resumed", current, now)]));
      return { current, resumed: true };
    }
    const events: HistoryEvent[] = [];
    if (last?.status === "in_progress") {
      const running = last.phases.findLast((phase) => phase.status === "running");
      events.push({
        ...historyEvent("failed", last, now),
        ...(running === undefined ? {} : { phase: running.phase }),
        error: "interrupted",
      });
    }
    const current: Current = {
      deployment_id: uniqueId(now, release.commit, last?.deployment_id),
      environment,
      status: "in_progress",
      started_at: now.toISOString(),
      active_slot: activeSlot,
      slots,
      failure_command: failureCommand,
      phases: [],
    };
    events.push(historyEvent("in_progress", current, now));
    await written(context, () => store.writeCurrent(current, events));
    return { current, resumed: false };
  });

  const log = context.openLog(current.deployment_id);
  const what = Object.entries(slots).map(
    ([slot, { version, commit }]) => `${slot}: ${version} (${shortCommit(commit)})`,
  );
  log.info(
    `deployment ${current.deployment_id} ${resumed ? "goes on" : "begins"}: ${activeSlot} is to serve; ${what.join(", ")}`,
    { environment },
  );
  log.close();
  return { deploymentId: current.deployment_id, startedAt: current.started_at };
}

/** Writes what the disk has room for: a rollback must be possible with a full disk, which may be its reason. */
async function written({ log }: CommandContext, write: () => Promise<void>): Promise<void> {
  await write().catch((error: unknown) => {
    if (!isDiskFull(error)) throw error;
    log.warn(`this deployment is not written down: ${messageOf(error)}`, {
      hint: "make room on the disk of togather:deployment state.location",
    });
  });
}

/** Two deployments of one commit within a second: the second one gets the next second. */
function uniqueId(time: Date, commit: string, last: string | undefined): string {
  const id = deploymentIdOf(time, commit);
  return id === last ? deploymentIdOf(new Date(time.getTime() + 1000), commit) : id;
}
