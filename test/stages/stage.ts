import type { Step } from "../../toolchain/step.ts";

/** Numbers of checks by result. */
export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** The duration of a test. */
export interface TimedTest {
  /** From the project's directory; a Go test's package. */
  file: string;
  name: string;
  seconds: number;
}

/** The result of a stage. */
export interface Outcome extends Counts {
  /** Durations of the tests, where a stage's checks are tests. */
  tests?: readonly TimedTest[];
  /** Output of a stage that runs beside others. */
  output?: string;
}

/** One part of `npm test`. */
export interface Stage {
  name: string;
  /** Tools that it needs on this machine. */
  needs: readonly Step[];
  /** May run beside others, one such stage after the other. Always, or only beside the integration tests, which wait for a third of their time. */
  beside?: "always" | "integration";
  /** Counts. @param quiet whether it runs beside others: then its output is returned, and else shown as it comes. */
  run(quiet: boolean): Promise<Outcome>;
}

/** Stages that run at the same time as each other's list, each list in its order. */
export function inLanes(stages: readonly Stage[]): { main: Stage[]; beside: Stage[] } {
  const integration = stages.some(({ name }) => name === "integration");
  const isBeside = ({ beside }: Stage): boolean => beside === "always" || (beside === "integration" && integration);
  return { main: stages.filter((stage) => !isBeside(stage)), beside: stages.filter(isBeside) };
}

export function sum(all: readonly Counts[]): Counts {
  const total = (key: keyof Counts) => all.reduce((count, counts) => count + counts[key], 0);
  return { passed: total("passed"), failed: total("failed"), skipped: total("skipped") };
}

export function describe({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}

/** A check that is either right or wrong as a whole. */
export function asCounts(exitCode: number): Counts {
  return exitCode === 0 ? { passed: 1, failed: 0, skipped: 0 } : { passed: 0, failed: 1, skipped: 0 };
}

/** The slowest tests, one line each, the slowest first. */
export function slowest(tests: readonly TimedTest[], count: number): string[] {
  return [...tests]
    .sort((a, b) => b.seconds - a.seconds)
    .slice(0, count)
    .map(({ file, name, seconds }) => `${seconds.toFixed(1).padStart(7)} s  ${file}  ${name}`);
}
