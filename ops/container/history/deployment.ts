/** The deployment that a step belongs to: its phases in current.json, its end in the history. */
import type { SlotName } from "../../contract/steps.ts";
import type { StateStore } from "./state-store.ts";
import type { Current, HistoryEvent, Phase } from "../../contract/deployment-state.ts";

/** The deployment that a step works for. */
export interface StepOf {
  deploymentId: string;
  /** False when no deployment is open: the step was run by itself, or for a change that began no deployment. */
  open: boolean;
}

export interface PhaseStart {
  step: string;
  slot?: SlotName;
  /** The release that the step is for. */
  version?: string;
  startedAt: Date;
}

/** The end of a phase: its result, or its error. */
export type PhaseEnd =
  | { result: Record<string, unknown> }
  | { error: string; /** Traffic had moved and was sent back. */ rolledBack?: boolean };

/** The history event for a deployment in its current state. */
export function historyEvent(event: HistoryEvent["event"], current: Current, time: Date): HistoryEvent {
  const release = current.slots[current.active_slot];
  return {
    time: time.toISOString(),
    event,
    deployment_id: current.deployment_id,
    environment: current.environment,
    active_slot: current.active_slot,
    ...(release === undefined ? {} : { version: release.version, git_commit: release.commit }),
  };
}

/** Whether both are the same phase: the same step for the same slot, started at the same time. */
function isSame(phase: Phase, start: PhaseStart): boolean {
  return (
    phase.phase === start.step &&
    phase.slot === start.slot &&
    phase.version === start.version &&
    phase.started_at === start.startedAt.toISOString()
  );
}

/** A failed deployment that is continued. */
export function reopened(current: Current): Current {
  return {
    ...current,
    status: "in_progress",
    failed_phase: undefined,
    error: undefined,
    finished_at: undefined,
    failure_told: undefined,
  };
}

/**
 * The last failure that no later run has made good. The steps of both slots run side by side: a success after another
 * step's failure doesn't mean that all is well.
 */
function standingFailure({ phases, resumed_at: since }: Current): Phase | undefined {
  const latest = new Map<string, Phase>();
  for (const phase of phases) {
    if (since === undefined || phase.started_at >= since)
      latest.set(`${phase.phase} ${phase.slot ?? ""} ${phase.version ?? ""}`, phase);
  }
  return [...latest.values()].findLast(({ status }) => status === "failed" || status === "rolled_back");
}

/** The deployment with the status that follows from its phases. */
function judged(current: Current, now: Date): Current {
  const failure = standingFailure(current);
  if (failure === undefined) return reopened(current);
  return {
    ...current,
    status: failure.status === "rolled_back" ? "rolled_back" : "failed",
    failed_phase: failure.phase,
    error: failure.error,
    finished_at: now.toISOString(),
  };
}

/**
 * Records that a step of an open deployment runs. A failed deployment whose failed step runs again is in progress
 * again.
 */
export async function startPhase(store: StateStore, start: PhaseStart): Promise<void> {
  const phase: Phase = {
    phase: start.step,
    slot: start.slot,
    version: start.version,
    started_at: start.startedAt.toISOString(),
    status: "running",
  };
  await store.exclusively(async () => {
    const current = await store.current();
    if (current === undefined || current.status === "succeeded") return;
    const next = judged({ ...current, phases: [...current.phases, phase] }, start.startedAt);
    const resumes = current.status !== "in_progress" && next.status === "in_progress";
    const resumed = { ...historyEvent("resumed", current, start.startedAt), phase: start.step, slot: start.slot };
    await store.writeCurrent(next, resumes ? [resumed] : []);
  });
}

/** Records the end of a step of an open deployment. A failure ends the deployment, until somebody runs it again. */
export async function endPhase(store: StateStore, start: PhaseStart, end: PhaseEnd): Promise<void> {
  const now = new Date();
  const duration_ms = now.getTime() - start.startedAt.getTime();
  const failure = "error" in end && end.rolledBack === true ? "rolled_back" : "failed";
  const outcome =
    "error" in end
      ? ({ status: failure, error: end.error } as const)
      : { status: "succeeded" as const, result: end.result };
  await store.exclusively(async () => {
    const current = await store.current();
    if (current === undefined || current.status === "succeeded") return;
    const phases = current.phases.map((phase) =>
      isSame(phase, start) ? { ...phase, duration_ms, ...outcome } : phase,
    );
    const failed =
      "error" in end
        ? [
            {
              ...historyEvent(failure, current, now),
              phase: start.step,
              slot: start.slot,
              error: end.error,
              duration_ms,
            },
          ]
        : [];
    await store.writeCurrent(judged({ ...current, phases }, now), failed);
  });
}
