import { project } from "../toolchain/setup.ts";
import { madeStack, PulumiStack } from "./deploy/pulumi-stack.ts";
import { makeFromExample } from "./example-file.ts";
import { stacksWithFile } from "./example-file.ts";
import { StackFile } from "./stack-file.ts";
import { shortName } from "./stack-name.ts";

/**
 * Creates a stack for a file that has none yet, as `togather release` does: otherwise the first command of a first
 * deployment would end with "no stack named". A name without a file is left for Pulumi to refuse.
 */
export async function makeNewStack({ stack, preview }: { stack: string; preview: boolean }): Promise<void> {
  const made = makeFromExample(project, stack);
  if (made !== undefined) console.error(made);
  if (!stacksWithFile(project).includes(shortName(stack))) return;
  const file = StackFile.open(project, stack);
  if (file.belongsToAStack) return;
  const pulumi = await PulumiStack.open(stack);
  if ((await pulumi.outputs()) !== undefined) return;
  await pulumi.create(file);
  console.error(madeStack(stack, preview));
}
