import type { SlotName } from "../../ops/contract/steps.ts";
import type { HistoryEvent } from "../../ops/contract/deployment-state.ts";
import type { HostReport } from "./look.ts";

/** One deployment, collected from the history. */
export interface Entry {
  id: string;
  /**
   * "rolled back": it failed after traffic had moved. "interrupted": it began and has not ended, and nobody runs it.
   */
  status: "succeeded" | "failed" | "rolled back" | "in progress" | "interrupted";
  slot: SlotName | undefined;
  version: string | undefined;
  commit: string | undefined;
  startedAt: string;
  endedAt: string | undefined;
  durationMs: number | undefined;
  deployedBy: string | undefined;
  /** Phase of a failed deployment. */
  failedPhase: string | undefined;
  error: string | undefined;
  /** Number of runs: a failed deployment may be run again, under its own id. */
  runs: number;
}

function entryOf(id: string, events: readonly HistoryEvent[], running: boolean): Entry | undefined {
  const [first] = events;
  const last = events.at(-1);
  if (first === undefined || last === undefined) return undefined;
  const isOpen = last.event === "in_progress" || last.event === "resumed";
  const hasFailed = last.event === "failed" || last.event === "rolled_back";
  const ended = {
    succeeded: "succeeded",
    rolled_back: "rolled back",
    failed: last.error === "interrupted" ? "interrupted" : "failed",
  } as const;
  const status =
    last.event === "in_progress" || last.event === "resumed"
      ? running
        ? "in progress"
        : "interrupted"
      : ended[last.event];
  const duration = last.event === "succeeded" ? last.duration_ms : undefined;
  return {
    id,
    status,
    slot: first.active_slot,
    version: first.version,
    commit: first.git_commit,
    startedAt: first.time,
    endedAt: isOpen ? undefined : last.time,
    durationMs: isOpen ? undefined : (duration ?? Date.parse(last.time) - Date.parse(first.time)),
    deployedBy: last.deployed_by,
    failedPhase: hasFailed ? last.phase : undefined,
    error: hasFailed ? last.error : undefined,
    runs: events.filter(({ event }) => event === "in_progress" || event === "resumed").length,
  };
}

/** The deployments of a history, the newest first. One is in progress while somebody holds the lock. */
export function entriesOf({ history, current, lock }: Pick<HostReport, "history" | "current" | "lock">): Entry[] {
  const byId = new Map<string, HistoryEvent[]>();
  for (const event of history) {
    const events = byId.get(event.deployment_id) ?? [];
    events.push(event);
    byId.set(event.deployment_id, events);
  }
  return [...byId]
    .flatMap(([id, events]) => entryOf(id, events, lock !== undefined && current?.deployment_id === id) ?? [])
    .reverse();
}
