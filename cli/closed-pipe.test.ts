import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, expect, it } from "vitest";

const directory = mkdtempSync(join(tmpdir(), "togather-pipe-"));
afterAll(() => {
  rmSync(directory, { recursive: true });
});

/** Prints for half a second into a pipe whose reader takes one line, then writes its ending to a file. */
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

it.runIf(existsSync("/dev/full"))(
  "goes on when its output is a file on a full disk, and says so where it can",
  async () => {
    const program = `
    import { outliveReaders } from ${JSON.stringify(join(import.meta.dirname, "closed-pipe.ts"))};
    outliveReaders();
    for (const line of ["one", "two"]) {
      process.stdout.write(line);
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
    process.stderr.write("to the end");
  `;
    const script = (into: string): string => `"$0" --input-type=module -e "$1" > /dev/full ${into}`;
    const { stderr } = await promisify(execFile)("bash", ["-c", script(""), process.execPath, program]);
    expect(stderr).toBe("The output can't be written (ENOSPC); what runs goes on without it.\nto the end");
    await promisify(execFile)("bash", ["-c", script("2>&1"), process.execPath, program]);
  },
);
