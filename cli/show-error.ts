import { styleText } from "node:util";
import { CommanderError } from "commander";
import { createRedactor } from "../ops/contract/redact.ts";
import { exitCodes, type Ending } from "./exit-codes.ts";
import { asFailure } from "./failure.ts";

/** Shows the error that stopped a command; with a stack trace only where it was unexpected. */
export function showError(error: unknown, json: boolean): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return exitCodes.ok.code;
    // The text for people is printed already.
    if (json) showDocument("config", error.message.replace(/^error: /, ""), "togather --help");
    return exitCodes.config.code;
  }
  const redactor = createRedactor(process.env);
  const failure = asFailure(error);
  const code = exitCodes[failure?.ending ?? "other"].code;
  const message = redactor.text(
    failure?.message ?? (error instanceof Error ? (error.stack ?? error.message) : String(error)),
  );
  const fix = failure?.fix === undefined ? "" : `\n  → ${redactor.text(failure.fix)}`;
  process.stderr.write(`${styleText("red", "error:", { stream: process.stderr })} ${message}${fix}\n`);
  if (json) showDocument(failure?.ending ?? "other", message, failure?.fix);
  return code;
}

/** Prints a failed command's JSON document. */
function showDocument(ending: Ending, message: string, fix: string | undefined): void {
  process.stdout.write(
    `${JSON.stringify({ ok: false, ending, exitCode: exitCodes[ending].code, errors: [message], fix }, null, 2)}\n`,
  );
}
