import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, expect, it } from "vitest";

const directory = mkdtempSync(join(tmpdir(), "togather-pipe-"));
afterAll(() => {
  rmSync(directory, { recursive: true });
});

/** Prints for half a second into a pipe whose reader takes one line, then writes how it ended into a file. */
async function ended(setUp: string): Promise<string> {
  const file = join(directory, "ended");
  rmSync(file, { force: true });
  const program = `
    import { writeFileSync } from "node:fs";
    ${setUp}
    for (let i = 0; i < 20; i++) {
      process.stdout.write("line " + i + "\\n");
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    writeFileSync(${JSON.stringify(file)}, "to the end");
  `;
  const script = '"$0" --input-type=module -e "$1" | head -n 1 >/dev/null';
  await promisify(execFile)("bash", ["-c", script, process.execPath, program]);
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "killed";
  }
}

it("goes on when nobody reads its output any more", async () => {
  expect(await ended("")).toBe("killed");
  expect(
    await ended(
      `import { outliveReaders } from ${JSON.stringify(join(import.meta.dirname, "closed-pipe.ts"))}; outliveReaders();`,
    ),
  ).toBe("to the end");
});
