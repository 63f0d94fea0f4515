/** How the program tells the command that runs it why it was refused: its words are for people alone. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";

/** How a run that is refused before anything changes ends `togather`: keys of its exit codes; `unread`: it puts the state right, and runs it once more. */
const refusalEndings = ["config", "lock", "unread"] as const;
export type RefusalEnding = (typeof refusalEndings)[number];

/** Names the file in which the program leaves it. */
export const refusalVariable = "TOGATHER_REFUSAL_FILE";

/** Leaves word of a refusal where `env` says so; a plain `pulumi up` has nobody to tell. */
export function leaveRefusal(ending: RefusalEnding, env: NodeJS.ProcessEnv): void {
  const file = env[refusalVariable];
  if (file !== undefined) writeFileSync(file, ending);
}

/** What the program has left; undefined where it was not refused. */
export function readRefusal(file: string): RefusalEnding | undefined {
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  return refusalEndings.find((ending) => ending === text);
}
