import { stepEndings } from "./endings.ts";

/** What a step reports when it can't do its work: a sentence for people, shown without a stack trace. */
export class StepError extends Error {
  /** The command, or the sentence, that leads out of it. */
  readonly hint: string | undefined;

  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.name = "StepError";
    this.hint = options.hint;
  }
}

/**
 * Traffic had moved to a release that then did not hold up, and was sent back. The step ends with an exit code of its own,
 * which is how `togather` knows.
 */
export class RolledBackError extends StepError {}

/** The step's exit code for it, and the command's. */
export const rolledBackExitCode = stepEndings.rolledBack.code;

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
