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
    child.once("close", (exitCode) => { resolve({ exitCode }); });
    child.on("error", (error) => { if (child.pid === undefined) resolve({ exitCode: null, error }); });
  });
}

/** How a program that failed ended, and the end of what it said. */
export async function failureOf(program: ResultPromise, what: string): Promise<StepError | undefined> {
  const result = await program;
  if (!result.failed) return undefined;
  const end = result.signal === undefined ? (result.exitCode === undefined ? messageOf(result) : `exit code ${result.exitCode}`) : `killed by ${result.signal}`;
  const said = typeof result.stderr === "string" ? result.stderr.trim().split("\n").slice(-5).join("\n") : "";
  return new StepError(`${what} failed (${end})${said === "" ? "" : `: ${said}`}`);
}

/** Waits for a program. @throws {StepError} with what the program itself said. */
export async function succeed(program: ResultPromise, what: string, signal: AbortSignal): Promise<void> {
  const failure = await failureOf(program, what);
  if (failure === undefined) return;
  signal.throwIfAborted();
  throw failure;
}
