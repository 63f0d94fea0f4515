/** The deployment that a step belongs to: its phases in current.json, its failure in the history. */
import type { SlotName, StepName } from "./contract.ts";
import type { Current, HistoryEvent, Phase, StateStore } from "./state.ts";

/** Which deployment a step works for. */
export interface StepOf {
  deploymentId: string;
  /** False when no deployment is open: the step was run by itself, or for a change that no deployment was begun for. */
  open: boolean;
}

interface PhaseStart {
  step: StepName;
  slot?: SlotName;
  startedAt: Date;
}

/** A phase's end: what came out, or why nothing did. */
export type PhaseEnd = { result: Record<string, unknown> } | { error: string };

/** The event of the history for a deployment as it stands. */
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

/** Only the phase that is being run: the same step for the same slot, started at the same time. */
function isSame(phase: Phase, start: PhaseStart): boolean {
  return phase.phase === start.step && phase.slot === start.slot && phase.started_at === start.startedAt.toISOString();
}

/** Writes down that a step of an open deployment runs. A failed deployment is in progress again. */
export async function startPhase(store: StateStore, start: PhaseStart): Promise<void> {
  await store.exclusively(async () => {
    const current = await store.current();
    if (current === undefined || current.status === "succeeded") return;
    if (current.status === "failed") {
      const { error: _error, failed_phase: _phase, finished_at: _end, ...rest } = current;
      await store.writeCurrent(withPhase({ ...rest, status: "in_progress" }, start));
      await store.appendHistory({ ...historyEvent("resumed", current, start.startedAt), phase: start.step });
      return;
    }
    await store.writeCurrent(withPhase(current, start));
  });
}

function withPhase(current: Current, start: PhaseStart): Current {
  const phase: Phase = {
    phase: start.step,
    ...(start.slot === undefined ? {} : { slot: start.slot }),
    started_at: start.startedAt.toISOString(),
    status: "running",
  };
  return { ...current, phases: [...current.phases, phase] };
}

/** Writes down how a step of an open deployment ended. A failure ends the deployment, until somebody runs it again. */
export async function endPhase(store: StateStore, start: PhaseStart, end: PhaseEnd): Promise<void> {
  const now = new Date();
  const duration_ms = now.getTime() - start.startedAt.getTime();
  const outcome = "error" in end ? { status: "failed" as const, error: end.error } : { status: "succeeded" as const, result: end.result };
  await store.exclusively(async () => {
    const current = await store.current();
    if (current === undefined || current.status === "succeeded") return;
    const phases = current.phases.map((phase) => (isSame(phase, start) ? { ...phase, duration_ms, ...outcome } : phase));
    if (!("error" in end)) {
      await store.writeCurrent({ ...current, phases });
      return;
    }
    await store.writeCurrent({ ...current, phases, status: "failed", failed_phase: start.step, error: end.error, finished_at: now.toISOString() });
    await store.appendHistory({ ...historyEvent("failed", current, now), phase: start.step, error: end.error, duration_ms });
  });
}
