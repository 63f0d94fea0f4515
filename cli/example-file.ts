import { constants, copyFileSync, existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { shortName } from "./stack-name.ts";

/** Name of a stack's file in the project. */
export const stackFileName = (stack: string): string => `Pulumi.${shortName(stack)}.yaml`;

/** Name of the example from which a stack's file can be made; undefined where there is none. */
export function exampleOf(project: string, stack: string): string | undefined {
  const name = `${stackFileName(stack)}.example`;
  return existsSync(join(project, name)) ? name : undefined;
}

/**
 * Makes the file of a stack that is each machine's own from its example. Git ignores it: Pulumi writes into it how secrets are
 * encrypted, with the passphrase of this clone.
 * @returns what was done, in a sentence; undefined where the file is there, or has no example.
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
