import { createInterface } from "node:readline/promises";
import { Failure } from "./failure.ts";
import type { Output } from "./output.ts";

/**
 * Asks before an action that the same command can't undo.
 * @throws {Failure} when the answer is no, or nobody can be asked and `--yes` was not given.
 */
export async function confirm(question: string, { yes, output }: { yes: boolean; output: Output }): Promise<void> {
  if (yes) return;
  if (!process.stdin.isTTY || output.json || !output.stream.isTTY)
    throw new Failure(
      "config",
      `${question} There is no terminal to ask on. Nothing was changed.`,
      "the same with --yes",
    );
  const terminal = createInterface({ input: process.stdin, output: output.stream });
  try {
    const answer = await terminal.question(`${question} Type yes: `);
    if (answer.trim().toLowerCase() !== "yes") throw new Failure("config", "not confirmed. Nothing was changed.");
  } finally {
    terminal.close();
  }
}
