/** The state directory of a deployment: reads and writes the files that contract/deployment-state.ts describes. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { messageOf, StepError } from "../../contract/errors.ts";
import { appendLine, isDiskFull, writeFileAtomically } from "../files.ts";
import { withFileLock } from "../lock.ts";
import {
  type Current,
  currentSchema,
  type DeploymentState,
  deploymentStateSchema,
  type HistoryEvent,
  missingEvents,
  parseHistory,
} from "../../contract/deployment-state.ts";

async function readJson<T>(file: string, schema: z.ZodType<T>): Promise<T | undefined> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new StepError(`${file} can't be read: ${messageOf(cause).split("\n")[0] ?? ""}`, {
      hint: `it is written atomically, so something else changed it; move it away: mv ${file} ${file}.broken`,
      cause,
    });
  }
}

/** The state directory. */
export class StateStore {
  private readonly directory: string;
  /** Events that the disk had no room for so far. */
  private unwritten: HistoryEvent[] = [];

  constructor(directory: string) {
    this.directory = directory;
  }

  current(): Promise<Current | undefined> {
    return readJson(join(this.directory, "current.json"), currentSchema);
  }

  /**
   * Stores the deployment's current state and appends its events to the history. Cut short at any moment, both have the
   * change or neither: the next change completes the history. Only call this while no other process writes
   * (`exclusively`).
   */
  async writeCurrent(current: Current, events: readonly HistoryEvent[] = []): Promise<void> {
    const all = [...this.unwritten, ...events];
    const last_events = all.length === 0 ? undefined : all;
    await writeFileAtomically(
      join(this.directory, "current.json"),
      `${JSON.stringify({ ...current, last_events }, null, 2)}\n`,
    );
    await this.appendAll(all);
  }

  /** Events that the disk has no room for stay in current.json. */
  private async appendAll(events: readonly HistoryEvent[]): Promise<void> {
    this.unwritten = [...events];
    try {
      for (const event of events) {
        await this.appendHistory(event);
        this.unwritten.shift();
      }
    } catch (error) {
      if (!isDiskFull(error)) throw error;
    }
  }

  /** Adds events to the history that an earlier change could not write, for lack of time or room. */
  private async completeHistory(): Promise<void> {
    const current = await this.current();
    if (current?.last_events === undefined) return;
    await this.appendAll(missingEvents(await this.history(), current));
  }

  deploymentState(): Promise<DeploymentState | undefined> {
    return readJson(join(this.directory, "deployment-state.json"), deploymentStateSchema);
  }

  writeDeploymentState(state: DeploymentState): Promise<void> {
    return writeFileAtomically(join(this.directory, "deployment-state.json"), `${JSON.stringify(state, null, 2)}\n`);
  }

  /** For an event without a change of current.json. */
  appendHistory(event: HistoryEvent): Promise<void> {
    return appendLine(join(this.directory, "history.jsonl"), JSON.stringify(event));
  }

  /** All recorded events, the oldest first. */
  async history(): Promise<HistoryEvent[]> {
    return readFile(join(this.directory, "history.jsonl"), "utf8").then(parseHistory, (error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw error;
    });
  }

  /** Runs one change at a time: the steps of both slots run side by side, and each adds to current.json. */
  exclusively<T>(use: () => Promise<T>): Promise<T> {
    // Not the step's own signal: an aborted step still writes down that it failed.
    return withFileLock(
      { file: join(this.directory, ".lock"), waitSeconds: 30, signal: new AbortController().signal },
      async () => {
        await this.completeHistory();
        return use();
      },
    );
  }
}
