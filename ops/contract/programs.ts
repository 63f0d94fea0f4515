/** Programs that a step runs: with nothing in their environment but what they are to have, and their own words in errors. */
import type { ChildProcess } from "node:child_process";
import type { ResultPromise } from "execa";
import { messageOf, StepError } from "./errors.ts";

/** How a program of Node's own `spawn` ended: its exit code, null for one that was killed or could not be started, which has the error. */
export interface Ending {
  exitCode: number | null;
  error?: Error;
}

/** Resolves when a child is gone and has said everything. To be called at once after `spawn`: errors that come while it runs, as of an abort, are no end. */
export function endOf(child: ChildProcess): Promise<Ending> {
  return new Promise((resolve) => {
    child.once("close", (exitCode) => {
      resolve({ exitCode });
    });
    child.on("error", (error) => {
      if (child.pid === undefined) resolve({ exitCode: null, error });
    });
  });
}

/** What a program said, cut down to what tells why: PostgreSQL's error with its details, which may be many lines, or else the end. */
function lastWords(stderr: string): string {
  const lines = stderr
    .trim()
    .split("\n")
    .filter((line) => !line.startsWith("LOCATION: "));
  const at = lines.findIndex((line) => /(?:^|\s)(?:(?:ERROR|FATAL): |\p{Lu}+: +[0-9A-Z]{5}: )/u.test(line));
  return (at === -1 ? lines.slice(-5) : lines.slice(at, at + 8)).join("\n");
}

/** How a program that failed ended, and why as far as it said so. */
export async function failureOf(program: ResultPromise, what: string): Promise<StepError | undefined> {
  const result = await program;
  if (!result.failed) return undefined;
  const end =
    result.signal === undefined
      ? result.exitCode === undefined
        ? messageOf(result)
        : `exit code ${result.exitCode}`
      : `killed by ${result.signal}`;
  const said = typeof result.stderr === "string" ? lastWords(result.stderr) : "";
  return new StepError(`${what} failed (${end})${said === "" ? "" : `: ${said}`}`);
}

/** Waits for a program. @throws {StepError} with what the program itself said. */
export async function succeed(program: ResultPromise, what: string, signal: AbortSignal): Promise<void> {
  const failure = await failureOf(program, what);
  if (failure === undefined) return;
  signal.throwIfAborted();
  throw failure;
}
