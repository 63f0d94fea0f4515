/** Commands in the documents, for tests that run them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** The command lines of a section of docs/snapshots.md, in order. @throws when there are none. */
export function toldCommands(heading: string): string[] {
  const text = readFileSync(join(import.meta.dirname, "../../docs/snapshots.md"), "utf8");
  const section = text.split(`\n## ${heading}\n`)[1]?.split(/\n##+ /)[0] ?? "";
  const commands = [...section.matchAll(/```bash\n([\s\S]*?)```/g)].flatMap(([, block = ""]) =>
    block.trim().split("\n"),
  );
  if (commands.length === 0) throw new Error(`docs/snapshots.md has no commands under ${heading}`);
  return commands;
}

/**
 * The arguments of a command line, without the stack: a test has its own.
 * @param names a test's names for those in the document.
 */
export function argumentsOf(command: string, names: Record<string, string> = {}): string[] {
  const words = [...command.matchAll(/"([^"]*)"|\S+/g)]
    .map(([word, quoted]) => quoted ?? word)
    .slice(1)
    .filter((word, at, all) => word !== "--stack" && all[at - 1] !== "--stack");
  return words.map((word) => names[word] ?? word);
}
