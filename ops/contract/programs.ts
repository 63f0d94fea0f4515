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

/** What is said beside an error: by PostgreSQL's own words, which a server in another language does not use. */
const noError = /^(WARNING|NOTICE|INFO|LOG|DEBUG\d?|DETAIL|HINT|CONTEXT|QUERY|STATEMENT|LOCATION|LINE \d+)$/;

/** A server's error in one line of what psql, pg_dump or pg_restore says; undefined for a line that is none. */
function errorIn(line: string): { sqlState: string | undefined; said: string } | undefined {
  const [, severity = "", sqlState, said = ""] =
    /^(?:.*? )??(\p{Lu}[\p{Lu}\d]*): +(?:([0-9A-Z]{5}): )?(.*)/u.exec(line) ?? [];
  // Without its number, only what is surely one.
  if (sqlState === undefined ? !/^(ERROR|FATAL|PANIC)$/.test(severity) : noError.test(severity)) return undefined;
  // Success and warnings, in whatever language.
  return sqlState !== undefined && /^0[01]/.test(sqlState) ? undefined : { sqlState, said };
}

/**
 * The first error of a server in what a program said: its SQLSTATE, which psql tells and pg_restore does not, and its words.
 * @param message several lines, such as that of `failureOf`, or an error's own.
 */
export function serverError(message: string): { sqlState: string | undefined; said: string } | undefined {
  for (const line of message.split("\n")) {
    const found = errorIn(line);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** What a program said, cut down to what tells why: PostgreSQL's error with its details, which may be many lines, or else the end. */
export function lastWords(stderr: string): string {
  const lines = stderr
    .trim()
    .split("\n")
    .filter((line) => !line.startsWith("LOCATION: "));
  const at = lines.findIndex((line) => errorIn(line) !== undefined);
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
