import { fork } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { project } from "../../toolchain/setup.ts";
import type { Counts, Stage, TimedTest } from "./stage.ts";
import type { VitestRequest } from "./vitest-process.ts";

/** The fields of vitest's JSON report that are counted. */
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

/** Durations of the tests that ran, without hooks. */
export function timeVitest(report: VitestReport): TimedTest[] {
  return report.testResults.flatMap(({ name = "", assertionResults }) =>
    assertionResults.flatMap(({ fullName = "", duration }) =>
      typeof duration === "number" ? [{ file: relative(project, name), name: fullName, seconds: duration / 1000 }] : [],
    ),
  );
}

/** Resolves with its exit code, after an interrupt too: then once what the tests have started is cleaned up. @param quiet whether its output is returned, and not shown. */
function runVitest(
  request: VitestRequest,
  env: NodeJS.ProcessEnv,
  quiet: boolean,
): Promise<{ code: number; output: string }> {
  return new Promise((resolve, reject) => {
    const shown = quiet ? "pipe" : "inherit";
    const child = fork(join(import.meta.dirname, "vitest-process.ts"), [JSON.stringify(request)], {
      cwd: project,
      env,
      detached: true,
      stdio: ["ignore", shown, shown, "ipc"],
    });
    const parts: string[] = [];
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding("utf8").on("data", (part: string) => void parts.push(part));
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
      resolve({ code: code ?? 1, output: parts.join("") });
    });
  });
}

/** A project of vitest.config.ts, as a stage. */
export interface VitestStage extends Pick<Stage, "name" | "needs" | "beside"> {
  environment: () => Promise<NodeJS.ProcessEnv>;
  /** Files to run. Default: all. */
  files?: readonly string[];
}

export function vitestProject({ environment, files = [], ...stage }: VitestStage): Stage {
  return {
    ...stage,
    async run(quiet) {
      const directory = await mkdtemp(join(tmpdir(), "togather-vitest-"));
      try {
        const report = join(directory, "report.json");
        const { code, output } = await runVitest({ project: stage.name, files, report }, await environment(), quiet);
        // Without a report it has not come to its tests: then all that is known is what it said.
        const text = await readFile(report, "utf8").catch(() => undefined);
        if (text === undefined) return { passed: 0, failed: 1, skipped: 0, output };
        const written = JSON.parse(text) as VitestReport;
        const counts = { ...countVitest(written), tests: timeVitest(written), output };
        // For instance an error outside of any test.
        return code !== 0 && counts.failed === 0 ? { ...counts, failed: 1 } : counts;
      } finally {
        await rm(directory, { recursive: true, force: true });
      }
    },
  };
}
