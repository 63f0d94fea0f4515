import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { stackFileName } from "./example-file.ts";

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

/** Whether a stack's file says that it was made before: then nothing is to be made, and nothing is loaded that could. */
export function wasMade(project: string, stack: string): boolean {
  try {
    const text = readFileSync(join(project, stackFileName(stack)), "utf8");
    return /^(encryptionsalt|secretsprovider|encryptedkey):/m.test(text);
  } catch {
    return false;
  }
}
