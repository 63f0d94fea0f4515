import { StepError } from "../ops/contract/errors.ts";
import { forStack, SettingsError } from "./problems.ts";
import { getStack, RunError } from "./pulumi-runtime.ts";
import { Refusal } from "./refusal.ts";

/**
 * An error that an operator can fix, in the form that Pulumi shows without a stack trace; any other error unchanged.
 */
export function toRunError(error: unknown): unknown {
  const forThisStack = (text: string): string => forStack(text, getStack());
  if (error instanceof SettingsError) return new Refusal("config", forThisStack(error.message));
  if (error instanceof StepError)
    return new RunError(forThisStack(error.hint === undefined ? error.message : `${error.message}\n  → ${error.hint}`));
  return error;
}

/** Runs a check; its errors end the program in the form that Pulumi shows without a stack trace. */
export function orRunError<T>(check: () => T): T {
  try {
    return check();
  } catch (error) {
    throw toRunError(error);
  }
}
