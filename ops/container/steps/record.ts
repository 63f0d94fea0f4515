import { join } from "node:path/posix";
import type { CommandContext } from "../../contract/context.ts";
import type { SlotName, StepRequest, StepResult } from "../../contract/steps.ts";
import { historyEvent, reopened } from "../history/deployment.ts";
import { expireLogs } from "../history/log-retention.ts";
import { messageOf } from "../../contract/errors.ts";
import { isDiskFull } from "../files.ts";
import { shortCommit } from "../../contract/release.ts";
import { StateStore } from "../history/state-store.ts";
import { type Current, type DeploymentState, type Phase } from "../../contract/deployment-state.ts";

/**
 * Closes a deployment: writes the slot that serves to deployment-state.json, and the success to the history and the
 * log.
 */
export async function run(request: StepRequest<"record">, context: CommandContext): Promise<StepResult<"record">> {
  const store = new StateStore(context.paths.state);
  const log = context.openLog(request.deploymentId);
  const result = {
    deploymentId: request.deploymentId,
    file: join(request.stateLocation, "deployment-state.json"),
    log: join(request.logLocation, `${request.deploymentId}.log`),
  };
  await store.exclusively(async () => {
    const [current, before] = await Promise.all([store.current(), store.deploymentState()]);
    // A file with other content was changed by hand, and is written again.
    const isRight =
      before?.active_slot === request.activeSlot &&
      before.version === request.release.version &&
      before.git_commit === request.release.commit;
    if (isRight && before.deployment_id === request.deploymentId && current?.status === "succeeded") {
      log.info(`deployment ${request.deploymentId} is recorded already`);
      return;
    }
    const now = new Date();
    const closed = close(current, request, now);
    const state = describe(
      closed,
      request,
      context.env["TOGATHER_DEPLOYED_BY"] ?? "unknown",
      previousSlot(before, closed),
    );
    try {
      // In this order: a run that was cut short is completed by the next one.
      await store.writeDeploymentState(state);
      const succeeded = {
        ...historyEvent("succeeded", closed, now),
        duration_ms: state.duration_ms,
        deployed_by: state.deployed_by,
      };
      // Recorded again after the file was lost: it must not count as a second success.
      const told = (await store.history()).some(
        (one) => one.event === "succeeded" && one.deployment_id === request.deploymentId,
      );
      const events = told ? [] : [succeeded];
      // Another deployment may have begun meanwhile: it stays open.
      if (current === undefined || current.deployment_id === request.deploymentId || current.status === "succeeded")
        await store.writeCurrent(closed, events);
      else for (const event of events) await store.appendHistory(event);
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      // Traffic has moved: a failure now would claim that it has not.
      log.warn(`${request.activeSlot} serves, which is not written down: ${messageOf(error)}`, {
        hint: `make room on the disk of ${request.stateLocation}; the next togather up writes it`,
      });
    }
    log.success(
      `${request.environment}: ${request.activeSlot} serves ${state.version} (${shortCommit(state.git_commit)}), ${state.duration} s after it began`,
      {
        active_slot: state.active_slot,
        previous_slot: state.previous_slot ?? undefined,
        version: state.version,
        git_commit: state.git_commit,
        duration_ms: state.duration_ms,
        deployed_by: state.deployed_by,
      },
    );
    try {
      const ids = (await store.history()).map(({ deployment_id: id }) => id);
      const expired = await expireLogs(context.paths.logs, ids, request.logRetention);
      if (expired.length > 0)
        log.info(
          `removed the logs of ${expired.length} old deployments, ${expired[0] ?? ""} to ${expired.at(-1) ?? ""}; the newest ${request.logRetention} stay`,
        );
    } catch (error) {
      // The deployment has succeeded: an old log that stays is no failure.
      log.warn(`old logs stay: ${messageOf(error)}`);
    }
  });
  log.close();
  return result;
}

/** The deployment at its end. Where its begin is unknown (the directory was lost), it began now. */
function close(current: Current | undefined, request: StepRequest<"record">, now: Date): Current {
  const known = current?.deployment_id === request.deploymentId ? current : undefined;
  const begun =
    known === undefined
      ? { deployment_id: request.deploymentId, started_at: now.toISOString(), phases: [] }
      : reopened(known);
  return {
    ...begun,
    environment: request.environment,
    active_slot: request.activeSlot,
    slots: request.slots,
    status: "succeeded",
    finished_at: (known?.status === "succeeded" ? known.finished_at : undefined) ?? now.toISOString(),
  };
}

/**
 * The slot that served before this one; unchanged when the same slot still serves. Where the state was lost, the slot
 * that the switch saw.
 */
function previousSlot(
  before: DeploymentState | undefined,
  { phases, active_slot: activeSlot }: Current,
): SlotName | null {
  if (before === undefined) {
    const { from = null } = (lastResult(phases, "switch") as StepResult<"switch"> | undefined) ?? {};
    return from === activeSlot ? null : from;
  }
  return before.active_slot === activeSlot ? before.previous_slot : before.active_slot;
}

function lastResult(phases: readonly Phase[], phase: string): Record<string, unknown> | undefined {
  return phases.findLast((entry) => entry.phase === phase && entry.status === "succeeded")?.result;
}

function describe(
  closed: Current,
  request: StepRequest<"record">,
  deployedBy: string,
  previous: SlotName | null,
): DeploymentState {
  const finishedAt = closed.finished_at ?? closed.started_at;
  const durationMs = Date.parse(finishedAt) - Date.parse(closed.started_at);
  const snapshot = lastResult(closed.phases, "snapshot") as StepResult<"snapshot"> | undefined;
  const migration = lastResult(closed.phases, "migrate") as StepResult<"migrate"> | undefined;
  return {
    deployment_id: closed.deployment_id,
    environment: request.environment,
    active_slot: request.activeSlot,
    version: request.release.version,
    git_commit: request.release.commit,
    timestamp: closed.started_at,
    deployed_by: deployedBy,
    previous_slot: previous,
    status: "succeeded",
    finished_at: finishedAt,
    duration: durationMs / 1000,
    duration_ms: durationMs,
    slots: request.slots,
    // current.json and the log hold the result of each step.
    phases: closed.phases.map((phase) => ({ ...phase, result: undefined })),
    snapshot: snapshot === undefined ? null : { file: snapshot.file, bytes: snapshot.bytes, sha256: snapshot.sha256 },
    migration: migration === undefined ? null : { from: migration.from, to: migration.to },
  };
}
