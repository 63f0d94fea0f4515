import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { foreground } from "../../toolchain/foreground.mjs";
import { project } from "../../toolchain/setup.ts";
import type { Step } from "../../toolchain/step.ts";
import type { Counts, Stage } from "./stage.ts";

/** What vitest's JSON reporter writes, as far as it is counted. */
interface VitestReport {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numTodoTests: number;
  testResults: { status: string; assertionResults: { status: string }[] }[];
}

export function countVitest(report: VitestReport): Counts {
  // A file that can't even be loaded, or whose hooks fail, has no failed test of its own.
  const brokenFiles = report.testResults.filter(
    ({ status, assertionResults }) => status === "failed" && !assertionResults.some((test) => test.status === "failed"),
  );
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + brokenFiles.length,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

/** A project of vitest.config.ts. */
export function vitestProject(
  name: string,
  needs: readonly Step[],
  environment: () => Promise<NodeJS.ProcessEnv>,
): Stage {
  return {
    name,
    needs,
    async run() {
      const directory = await mkdtemp(join(tmpdir(), "togather-vitest-"));
      try {
        const file = join(directory, "report.json");
        const args = ["run", "--project", name, "--reporter=default", "--reporter=json", `--outputFile.json=${file}`];
        const code = await foreground("vitest", args, { cwd: project, env: await environment() });
        const counts = countVitest(JSON.parse(await readFile(file, "utf8")) as VitestReport);
        // For instance an error outside of any test.
        return code !== 0 && counts.failed === 0 ? { ...counts, failed: 1 } : counts;
      } finally {
        await rm(directory, { recursive: true, force: true });
      }
    },
  };
}
