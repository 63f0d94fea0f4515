import { fork } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { VitestRequest } from "./vitest-process.ts";

const project = join(import.meta.dirname, "../..");

/** Tests that take a while, of two files that run side by side, and clean up in a hook. */
describe("an interrupted run", () => {
  let directory: string;

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "togather-interrupt-"));
    symlinkSync(join(project, "node_modules"), join(directory, "node_modules"));
    const write = (file: string, text: string): void => {
      writeFileSync(join(directory, file), text);
    };
    write("package.json", '{ "type": "module" }');
    write(
      "vitest.config.ts",
      'export default { test: { maxWorkers: 2, projects: [{ test: { name: "slow", include: ["*.test.ts"] } }] } };',
    );
    for (const name of ["a", "b"])
      write(
        `${name}.test.ts`,
        `import { writeFileSync } from "node:fs";
        import { afterAll, it } from "vitest";
        const say = (what) => writeFileSync("${name}." + what, "");
        afterAll(() => say("cleaned"));
        it("runs", async () => { say("begun"); await new Promise((resolve) => setTimeout(resolve, 20_000)); say("ended"); });
        it("never runs", () => say("wrong"));`,
      );
  });
  afterAll(() => {
    rmSync(directory, { recursive: true });
  });

  it.each(["cancel", "SIGTERM"] as const)("leaves the tests that run, by %s, cleans up, and reports", async (how) => {
    const there = (what: string): boolean[] => ["a", "b"].map((name) => existsSync(join(directory, `${name}.${what}`)));
    for (const what of ["begun", "cleaned"])
      for (const name of ["a", "b"]) rmSync(join(directory, `${name}.${what}`), { force: true });
    const request: VitestRequest = { project: "slow", files: [], report: join(directory, "report.json") };
    const child = fork(join(project, "test/stages/vitest-process.ts"), [JSON.stringify(request)], {
      cwd: directory,
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
    await expect.poll(() => there("begun"), { timeout: 30_000 }).toEqual([true, true]);
    if (how === "cancel") child.send(how);
    else child.kill(how);
    expect(await ended).not.toBe(0);
    expect([there("cleaned"), there("ended"), there("wrong")]).toEqual([
      [true, true],
      [false, false],
      [false, false],
    ]);
    expect(JSON.parse(readFileSync(request.report, "utf8"))).toMatchObject({ numFailedTests: 0, numTotalTests: 4 });
  });
});
