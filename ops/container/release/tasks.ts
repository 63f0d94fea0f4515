/**
 * Tasks of a release: the operator's commands, each in a one-off container of its image. The step that runs one has no
 * Docker client; its own client has one (ops/client/task-container.ts).
 */
import type { CommandContext } from "../../contract/context.ts";
import { type SlotName, type Task } from "../../contract/steps.ts";
import { StepError } from "../../contract/errors.ts";
import { seconds } from "../../contract/units.ts";
import { type TaskQuestion, type TaskAnswer, taskAnswerSchema } from "../../contract/questions.ts";

/** Lines of one task that are written to the log. When it fails, the last of the further lines are shown. */
const loggedLines = 2_000;
const lastLines = 15;

/** The end of a task. */
export interface TaskEnd {
  durationMs: number;
  /** The problem, as a phrase without a full stop. Undefined: none. */
  problem: string | undefined;
  /** The last lines of its output. */
  last: string[];
}

/**
 * Runs one task to its end, and shows its output.
 * @param where the slot whose settings its container gets, or the copy of the data for a rehearsal.
 * @throws when the step must stop.
 */
export async function runTask(
  { name, command, timeoutMs }: Task,
  where: { slot: SlotName } | { database: string },
  { ask, log, signal }: Pick<CommandContext, "ask" | "log" | "signal">,
): Promise<TaskEnd> {
  const question = async (one: TaskQuestion): Promise<TaskAnswer> => taskAnswerSchema.parse(await ask(one));
  const began = performance.now();
  const last: string[] = [];
  let count = 0;
  const note = (lines: readonly string[]): void => {
    for (const line of lines) {
      count += 1;
      last.push(line);
      if (last.length > lastLines) last.shift();
      if (count <= loggedLines) log.info(`task ${name}: ${line}`);
    }
  };
  const ended = (problem: string | undefined): TaskEnd => ({
    durationMs: Math.round(performance.now() - began),
    problem,
    last,
  });
  log.info(
    `task ${name}: ${JSON.stringify(command)} ${"slot" in where ? `in a container like ${where.slot}'s` : "on a copy of the data"}`,
  );
  try {
    let answer = await question({ do: "start a task", slot: null, ...where, command });
    for (;;) {
      signal.throwIfAborted();
      if ("problem" in answer) return ended(`could not be run: ${answer.problem}`);
      note(answer.lines);
      if (answer.exitCode !== null) {
        if (count > loggedLines) log.info(`task ${name}: ${count - loggedLines} more lines are not in this log`);
        return ended(answer.exitCode === 0 ? undefined : `ended with exit code ${answer.exitCode}`);
      }
      if (performance.now() - began > timeoutMs)
        return ended(`was stopped: it took longer than its timeout, ${seconds(timeoutMs)}`);
      answer = await question({ do: "go on with the task" });
    }
  } finally {
    // Always remove the container. Where the client is gone, the next run removes it.
    await question({ do: "end the task" }).catch(() => undefined);
  }
}

/** The error for a failed task. `what` describes the consequence for the release. */
export function taskError(name: string, { problem = "", durationMs, last }: TaskEnd, what: string): StepError {
  const lines =
    last.length === 0 ? " It printed nothing." : ` Its last lines:\n${last.map((line) => `  ${line}`).join("\n")}`;
  return new StepError(`the task ${name} ${problem}, after ${seconds(durationMs)}${what}.${lines}`);
}
