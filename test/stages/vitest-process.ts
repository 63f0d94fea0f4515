/**
 * Vitest in a process of its own, in which an interrupt leaves the tests where they are, and their hooks clean up: by
 * itself it would exit at once, and leave their containers behind. Is told by its parent, and has its signals to itself: those
 * of a terminal would reach the workers too.
 */
import { createVitest } from "vitest/node";

/** What it is started with, as JSON. */
export interface VitestRequest {
  /** Of vitest.config.ts. */
  project: string;
  /** Parts of the names of files to run; none means all. */
  files: readonly string[];
  /** Where its report goes (JSON). */
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
