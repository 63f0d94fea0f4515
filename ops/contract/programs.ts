/** Programs that a step runs: with only the environment that they need, and with their own messages in errors. */
import type { ChildProcess } from "node:child_process";
import type { ResultPromise } from "execa";
import { messageOf, StepError } from "./errors.ts";

/**
 * The end of a program of Node's own `spawn`: its exit code; null where it was killed or could not be started, then
 * with the error.
 */
export interface Ending {
  exitCode: number | null;
  error?: Error;
}

/**
 * Resolves when a child has ended and its output is complete. Call it directly after `spawn`: errors while it runs,
 * such as an abort, are not its end.
 */
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

/** PostgreSQL's severities and fields that are no error, in English; a server in another language uses other words. */
const noError = /^(WARNING|NOTICE|INFO|LOG|DEBUG\d?|DETAIL|HINT|CONTEXT|QUERY|STATEMENT|LOCATION|LINE \d+)$/;

/** A server's error in a line of psql, pg_dump or pg_restore. Undefined: no error. */
function errorIn(line: string): { sqlState: string | undefined; said: string } | undefined {
  const [, severity = "", sqlState, said = ""] =
    /^(?:.*? )??(\p{Lu}[\p{Lu}\d]*): +(?:([0-9A-Z]{5}): )?(.*)/u.exec(line) ?? [];
  // Without an SQLSTATE, only certain errors.
  if (sqlState === undefined ? !/^(ERROR|FATAL|PANIC)$/.test(severity) : noError.test(severity)) return undefined;
  // Success and warnings, in any language.
  return sqlState !== undefined && /^0[01]/.test(sqlState) ? undefined : { sqlState, said };
}

/**
 * The first server error in a program's output: its SQLSTATE, which psql reports and pg_restore does not, and its
 * message.
 * @param message several lines, such as that of `failureOf`, or an error's own.
 */
export function serverError(message: string): { sqlState: string | undefined; said: string } | undefined {
  for (const line of message.split("\n")) {
    const found = errorIn(line);
    if (found !== undefined) return found;
  }
  return undefined;
}

/**
 * The part of a program's output that shows the reason: PostgreSQL's error with its details, which may be many lines,
 * or else the end.
 */
export function lastWords(stderr: string): string {
  const lines = stderr
    .trim()
    .split("\n")
    .filter((line) => !line.startsWith("LOCATION: "));
  const at = lines.findIndex((line) => errorIn(line) !== undefined);
  return (at === -1 ? lines.slice(-5) : lines.slice(at, at + 8)).join("\n");
}

/** The error of a program that failed: how it ended, and the reason in its output. Undefined: it succeeded. */
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

/**
 * Waits for a program.
 * @throws {StepError} with the program's own message.
 */
export async function succeed(program: ResultPromise, what: string, signal: AbortSignal): Promise<void> {
  const failure = await failureOf(program, what);
  if (failure === undefined) return;
  signal.throwIfAborted();
  throw failure;
}
