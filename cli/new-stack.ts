import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { stackFileName } from "./example-file.ts";

/** Pulumi's commands that need a stack, and that people type first for a new one. */
const first = ["up", "update", "preview", "pre", "config"];

/**
 * The stack of a Pulumi command line, where the command may be the first one for it.
 * @param args the arguments of `pulumi`.
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
 * Whether a stack's file shows that the stack was created before: then nothing has to be created or loaded for that.
 */
export function wasMade(project: string, stack: string): boolean {
  try {
    const text = readFileSync(join(project, stackFileName(stack)), "utf8");
    return /^(encryptionsalt|secretsprovider|encryptedkey):/m.test(text);
  } catch {
    return false;
  }
}
