import { SettingsError } from "../config/problems.ts";
import { StepError } from "../ops/contract/errors.ts";
import { Problem } from "../toolchain/problem.ts";
import type { Ending } from "./exit-codes.ts";

/** A failure of a `togather` command: a message for people without a stack trace, and its exit code. */
export class Failure extends Error {
  override name = "Failure";
  readonly ending: Ending;
  /** The command or the sentence that solves it. */
  readonly fix: string | undefined;

  constructor(ending: Ending, message: string, fix?: string) {
    super(message);
    this.ending = ending;
    this.fix = fix;
  }
}

/** Converts a thrown value to a failure. Undefined: an unexpected error, which deserves its stack trace. */
export function asFailure(error: unknown): Failure | undefined {
  if (error instanceof Failure) return error;
  if (error instanceof SettingsError) return new Failure("config", error.message);
  if (error instanceof Problem) return new Failure("other", error.message);
  if (error instanceof StepError) return new Failure("other", error.message, error.hint);
  return undefined;
}
