import { fork } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { project } from "../../toolchain/setup.ts";
import type { Step } from "../../toolchain/step.ts";
import type { Counts, Stage, TimedTest } from "./stage.ts";
import type { VitestRequest } from "./vitest-process.ts";

/** What vitest's JSON reporter writes, as far as it is counted. */
interface VitestReport {
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numTodoTests: number;
  testResults: {
    name?: string;
    status: string;
    assertionResults: { status: string; fullName?: string; duration?: number | null }[];
  }[];
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

/** How long each test took that ran; hooks not counted. */
export function timeVitest(report: VitestReport): TimedTest[] {
  return report.testResults.flatMap(({ name = "", assertionResults }) =>
    assertionResults.flatMap(({ fullName = "", duration }) =>
      typeof duration === "number" ? [{ file: relative(project, name), name: fullName, seconds: duration / 1000 }] : [],
    ),
  );
}

/** Resolves with its exit code, after an interrupt too: then once what the tests have started is cleaned up. */
function runVitest(request: VitestRequest, env: NodeJS.ProcessEnv): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = fork(join(import.meta.dirname, "vitest-process.ts"), [JSON.stringify(request)], {
      cwd: project,
      env,
      detached: true,
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    let interrupts = 0;
    const interrupt = (): void => {
      console.log(
        interrupts++ === 0
          ? "\nInterrupted: cleaning up what the tests have started. Once more stops at once, and leaves containers behind."
          : "\nStopping at once.",
      );
      if (child.connected) child.send("cancel");
    };
    const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
    for (const signal of signals) process.on(signal, interrupt);
    child.once("error", reject);
    child.once("close", (code) => {
      for (const signal of signals) process.off(signal, interrupt);
      resolve(code ?? 1);
    });
  });
}

/** A project of vitest.config.ts. @param files those to run; none means all. */
export function vitestProject(
  name: string,
  needs: readonly Step[],
  environment: () => Promise<NodeJS.ProcessEnv>,
  files: readonly string[] = [],
): Stage {
  return {
    name,
    needs,
    async run() {
      const directory = await mkdtemp(join(tmpdir(), "togather-vitest-"));
      try {
        const report = join(directory, "report.json");
        const code = await runVitest({ project: name, files, report }, await environment());
        const written = JSON.parse(await readFile(report, "utf8")) as VitestReport;
        const counts = { ...countVitest(written), tests: timeVitest(written) };
        // For instance an error outside of any test.
        return code !== 0 && counts.failed === 0 ? { ...counts, failed: 1 } : counts;
      } finally {
        await rm(directory, { recursive: true, force: true });
      }
    },
  };
}
