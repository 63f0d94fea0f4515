/**
 * Runs the operator's own command for a failed deployment: on the machine that runs Pulumi, in the project's directory.
 */
import { spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { messageOf } from "../contract/errors.ts";
import type { failureQuestionSchema } from "../contract/questions.ts";
import { endOf } from "../contract/programs.ts";
import type * as z from "zod";
import { withoutSecrets } from "../host/environment.ts";
import { onLines } from "../host/lines.ts";

/** Longest time that the end of a failed deployment waits for it, in ms. */
const longestMs = 60_000;

/** @param show gets its output, line by line. Never throws: a failure here is shown as a line. */
export async function runFailureCommand(
  { command, ...failure }: z.infer<typeof failureQuestionSchema>,
  about: { name: string; environment: string },
  show: (line: string) => void,
  env: NodeJS.ProcessEnv = process.env,
): Promise<void> {
  const [program = "", ...args] = command;
  const told = {
    TOGATHER_NAME: about.name,
    TOGATHER_ENVIRONMENT: about.environment,
    TOGATHER_DEPLOYMENT: failure.deploymentId,
    TOGATHER_STATUS: failure.status,
    TOGATHER_FAILED_PHASE: failure.phase,
    TOGATHER_ERROR: failure.error,
    TOGATHER_SLOT: failure.slot ?? "",
    TOGATHER_VERSION: failure.version ?? "",
    TOGATHER_COMMIT: failure.commit ?? "",
  };
  try {
    // In a process group: all processes that it has started end with it.
    const child = spawn(program, args, {
      env: { ...withoutSecrets(env), ...told },
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    const ended = endOf(child);
    const read = [onLines(child.stdout, show), onLines(child.stderr, show)];
    const late = new AbortController();
    const timer = setTimeout(() => {
      late.abort();
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
    }, longestMs);
    const { exitCode, error } = await ended.finally(() => {
      clearTimeout(timer);
    });
    // Processes that it has left running may keep its output open.
    if (error === undefined) await Promise.race([Promise.all(read), sleep(1_000)]);
    const problem =
      error !== undefined
        ? messageOf(error)
        : late.signal.aborted
          ? `it ran for ${longestMs / 1000} s, and was stopped`
          : exitCode === 0
            ? undefined
            : `it ended with exit code ${exitCode}`;
    show(
      problem === undefined ? `failure command: ${program} was told` : `WARN: failure command: ${program}: ${problem}`,
    );
  } catch (error) {
    show(`WARN: failure command: ${program}: ${messageOf(error)}`);
  }
}
