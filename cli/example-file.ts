import { constants, copyFileSync, existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { shortName } from "./stack-name.ts";

/** Name of a stack's file in the project. */
export const stackFileName = (stack: string): string => `Pulumi.${shortName(stack)}.yaml`;

/** Name of the example for a stack's file. Undefined: there is none. */
export function exampleOf(project: string, stack: string): string | undefined {
  const name = `${stackFileName(stack)}.example`;
  return existsSync(join(project, name)) ? name : undefined;
}

/**
 * Creates a stack's file from its example where each machine has its own. Git ignores it: Pulumi writes to it how
 * secrets are encrypted, with the passphrase of this clone.
 * @returns a sentence about that; undefined where the file exists, or has no example.
 */
export function makeFromExample(project: string, stack: string): string | undefined {
  const [name, example] = [stackFileName(stack), exampleOf(project, stack)];
  if (example === undefined || existsSync(join(project, name))) return undefined;
  copyFileSync(join(project, example), join(project, name), constants.COPYFILE_EXCL);
  return `Made ${name} from ${example}. It is this machine's own: Git ignores it.`;
}

/** Names of the stacks that have a file in the project. */
export function stacksWithFile(project: string): string[] {
  return readdirSync(project).flatMap((file) => /^Pulumi\.(.+)\.yaml$/.exec(file)?.[1] ?? []);
}
