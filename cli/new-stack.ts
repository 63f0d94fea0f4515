import { parseArgs } from "node:util";
import { project } from "../toolchain/setup.ts";
import { madeStack, PulumiStack } from "./deploy/pulumi-stack.ts";
import { StackFile, stacksWithFile } from "./stack-file.ts";

/** Pulumi's commands that need a stack, and are the first ones that somebody types for a new one. */
const first = ["up", "update", "preview", "pre", "config"];

/**
 * The stack that a command line of Pulumi's is about, where the command can be the first one for it.
 * @param args as `pulumi` gets them.
 * @returns undefined for other commands, and where no stack is named.
 */
export function firstCommandFor(
  args: readonly string[],
  environment: NodeJS.ProcessEnv = process.env,
): { stack: string; preview: boolean } | undefined {
  const { tokens } = parseArgs({
    args: [...args],
    strict: false,
    tokens: true,
    allowPositionals: true,
    options: { stack: { type: "string", short: "s" }, cwd: { type: "string", short: "C" } },
  });
  const command = tokens.find((token) => token.kind === "positional")?.value;
  const named = tokens
    .flatMap((token) =>
      token.kind === "option" && token.name === "stack" && typeof token.value === "string" ? [token.value] : [],
    )
    .at(-1);
  const stack = named ?? environment["PULUMI_STACK"] ?? "";
  if (tokens.some((token) => token.kind === "option" && ["help", "h"].includes(token.name))) return undefined;
  if (command === undefined || !first.includes(command) || stack === "") return undefined;
  return { stack, preview: command.startsWith("pre") };
}

/**
 * Makes the stack of a file that has none yet, as `togather release` does: without it the first command of a first deployment
 * would end with "no stack named". A name without a file is Pulumi's to refuse.
 */
export async function makeNewStack({ stack, preview }: { stack: string; preview: boolean }): Promise<void> {
  if (!stacksWithFile(project).includes(stack.split("/").at(-1) ?? stack)) return;
  const file = StackFile.open(project, stack);
  if (file.belongsToAStack) return;
  const pulumi = await PulumiStack.open(stack);
  if ((await pulumi.outputs()) !== undefined) return;
  await pulumi.create(file);
  console.error(madeStack(stack, preview));
}
