/** The state directory of a deployment: reads and writes what contract/deployment-state.ts describes. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { messageOf, StepError } from "../../contract/errors.ts";
import { appendLine, writeFileAtomically } from "../files.ts";
import { withFileLock } from "../lock.ts";
import {
  type Current,
  currentSchema,
  type DeploymentState,
  deploymentStateSchema,
  type HistoryEvent,
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

  constructor(directory: string) {
    this.directory = directory;
  }

  current(): Promise<Current | undefined> {
    return readJson(join(this.directory, "current.json"), currentSchema);
  }

  writeCurrent(current: Current): Promise<void> {
    return writeFileAtomically(join(this.directory, "current.json"), `${JSON.stringify(current, null, 2)}\n`);
  }

  deploymentState(): Promise<DeploymentState | undefined> {
    return readJson(join(this.directory, "deployment-state.json"), deploymentStateSchema);
  }

  writeDeploymentState(state: DeploymentState): Promise<void> {
    return writeFileAtomically(join(this.directory, "deployment-state.json"), `${JSON.stringify(state, null, 2)}\n`);
  }

  appendHistory(event: HistoryEvent): Promise<void> {
    return appendLine(join(this.directory, "history.jsonl"), JSON.stringify(event));
  }

  /** All that is known to have happened, the oldest first. */
  async history(): Promise<HistoryEvent[]> {
    return parseHistory(await readFile(join(this.directory, "history.jsonl"), "utf8"));
  }

  /** One at a time: the steps of both slots run side by side, and each adds to current.json. */
  exclusively<T>(use: () => Promise<T>): Promise<T> {
    // Not the step's own signal: an aborted step still writes down that it failed.
    return withFileLock(
      { file: join(this.directory, ".lock"), waitSeconds: 30, signal: new AbortController().signal },
      use,
    );
  }
}
