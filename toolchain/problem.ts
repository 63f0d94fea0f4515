/** Something the user can put right: shown as one message that says how, without a stack trace. */
export class Problem extends Error {
  override name = "Problem";
}

/** Shows what stopped a command, and makes the process end with code 1. */
export function fail(error: unknown): void {
  process.exitCode = 1;
  console.error(error instanceof Problem ? `\n${error.message}` : error);
}
