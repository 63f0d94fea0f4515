import { RunError } from "./pulumi-runtime.ts";
import { leaveRefusal, type RefusalEnding } from "./refusal-file.ts";

/** A refused run: nothing was changed. Pulumi shows the message without a stack trace. */
export class Refusal extends RunError {
  readonly ending: RefusalEnding;

  constructor(ending: RefusalEnding, message: string) {
    super(message);
    this.ending = ending;
  }
}

/**
 * Runs the program, and writes its refusal to the file.
 * @throws the program's own error.
 */
export async function tellRefusal<T>(env: NodeJS.ProcessEnv, program: () => Promise<T>): Promise<T> {
  try {
    return await program();
  } catch (error) {
    if (error instanceof Refusal) leaveRefusal(error.ending, env);
    throw error;
  }
}
