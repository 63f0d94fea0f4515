/**
 * The file in which the program tells the command that runs it why it was refused: its messages are for people only.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";

/**
 * Reasons of a refusal before anything changes: keys of the exit codes of `togather`. `unread`: the command corrects
 * the state, and runs the program once more.
 */
const refusalEndings = ["config", "lock", "unread"] as const;
export type RefusalEnding = (typeof refusalEndings)[number];

/** The variable with the path of that file. */
export const refusalVariable = "TOGATHER_REFUSAL_FILE";

/** Writes a refusal where `env` names the file; a plain `pulumi up` names none. */
export function leaveRefusal(ending: RefusalEnding, env: NodeJS.ProcessEnv): void {
  const file = env[refusalVariable];
  if (file !== undefined) writeFileSync(file, ending);
}

/** The program's refusal. Undefined: none. */
export function readRefusal(file: string): RefusalEnding | undefined {
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  return refusalEndings.find((ending) => ending === text);
}
