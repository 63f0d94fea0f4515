/**
 * Runs vitest in a separate process, in which an interrupt stops the tests and their hooks clean up: vitest itself
 * would exit at once, and leave their containers behind. It gets its parent's messages, and its own signals: those of a
 * terminal would reach the workers too.
 */
import { createVitest } from "vitest/node";

/** Its input as JSON. */
export interface VitestRequest {
  /** Of vitest.config.ts. */
  project: string;
  /** Parts of the names of files to run; none means all. */
  files: readonly string[];
  /** Path of its report (JSON). */
  report: string;
}

const { project, files, report } = JSON.parse(process.argv[2] ?? "") as VitestRequest;
const vitest = await createVitest("test", {
  watch: false,
  project,
  reporters: ["default", ["json", { outputFile: report }]],
});
for (const signal of ["SIGINT", "SIGTERM"]) process.removeAllListeners(signal);
const cancel = (): void => void vitest.cancelCurrentRun("keyboard-input");
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, cancel);
process.on("message", cancel);
// Its parent was killed.
process.on("disconnect", cancel);
try {
  await vitest.start([...files]);
} finally {
  await vitest.close();
}
// An error outside of any test has set it already.
process.exit(process.exitCode ?? 0);
