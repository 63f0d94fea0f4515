import { stepEndings } from "./endings.ts";

/** An error of a step: a sentence for people, shown without a stack trace. */
export class StepError extends Error {
  /** The command or the sentence that solves it. */
  readonly hint: string | undefined;

  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.name = "StepError";
    this.hint = options.hint;
  }
}

/**
 * Traffic had moved to a release that then failed its trial, and was sent back. The step ends with its own exit code,
 * by which `togather` recognizes it.
 */
export class RolledBackError extends StepError {}

/** The exit code of the step, and of the command. */
export const rolledBackExitCode = stepEndings.rolledBack.code;

/** The message of any thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
