import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const project = join(import.meta.dirname, "..");
const text = readFileSync(join(project, "CONTRIBUTING.md"), "utf8");

interface Change {
  file: string;
  /** Existing lines, as far as the example shows them. */
  before: string;
  after: string;
}

/** The changes of an example: `--- FILE`, then lines that are there, that are added or taken out; `@@` begins another place, and a new file has only added ones. */
function changesOf(example: string): Change[] {
  return example.split(/^--- /m).flatMap((part) => {
    const [file = "", ...lines] = part.trimEnd().split("\n");
    return lines
      .join("\n")
      .split("\n@@\n")
      .filter((hunk) => hunk !== "")
      .map((hunk) => {
        const all = hunk.split("\n");
        const without = (kept: string[]): string => kept.map((line) => line.slice(1)).join("\n");
        return {
          file,
          before: without(all.filter((line) => !line.startsWith("+"))),
          after: without(all.filter((line) => !line.startsWith("-"))),
        };
      });
  });
}

const examples = [...text.matchAll(/```diff\n([\s\S]*?)```/g)].map(([, example = ""]) => changesOf(example));

describe("the examples of CONTRIBUTING.md", () => {
  let copy = "";
  beforeAll(() => {
    copy = mkdtempSync(join(tmpdir(), "togather-examples-"));
    const left = new Set(["node_modules", ".git", ".togather", "bench-results"]);
    cpSync(project, copy, { recursive: true, filter: (path) => !left.has(basename(path)) });
    symlinkSync(join(project, "node_modules"), join(copy, "node_modules"));
  });
  afterAll(() => {
    rmSync(copy, { recursive: true });
  });

  it("find the places that they name", () => {
    expect(examples.length).toBeGreaterThanOrEqual(4);
    for (const { file, before, after } of examples.flat()) {
      if (before === "") {
        expect(existsSync(join(copy, file)), file).toBe(false);
        writeFileSync(join(copy, file), `${after}\n`);
        continue;
      }
      const content = readFileSync(join(copy, file), "utf8");
      expect(`\n${content}`.split(`\n${before}`), `${file} has "${before}" once`).toHaveLength(2);
      const at = `\n${content}`.indexOf(`\n${before}`);
      writeFileSync(join(copy, file), content.slice(0, at) + after + content.slice(at + before.length));
    }
  });

  it("pass the checks of types and format, and the tests that they touch", async () => {
    const run = (command: string, ...args: string[]) =>
      execa(join(project, "node_modules/.bin", command), args, {
        cwd: copy,
        reject: false,
        all: true,
        env: { VITEST: undefined, NO_COLOR: "1" },
      });
    const changed = [...new Set(examples.flat().map(({ file }) => file))].filter((file) => file.endsWith(".ts"));
    const tests = changed.filter((file) => file.endsWith(".test.ts"));
    const found = await Promise.all([
      run("tsc", "--noEmit"),
      run("prettier", "--check", ...changed),
      run("vitest", "run", "--project", "unit", "docs/documents.test.ts", ...tests),
    ]);
    expect(found.map(({ exitCode, all }) => (exitCode === 0 ? "" : all))).toEqual(["", "", ""]);
    // Ten seconds where nothing else runs.
  }, 600_000);
});
