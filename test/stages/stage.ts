import type { Step } from "../../toolchain/step.ts";

/** How many checks came out how. */
export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** How long a test took. */
export interface TimedTest {
  /** From the project's directory; a Go test's package. */
  file: string;
  name: string;
  seconds: number;
}

/** How a stage came out. */
export interface Outcome extends Counts {
  /** Where a stage's checks are tests: what each took. */
  tests?: readonly TimedTest[];
  /** What a stage that runs beside others has to say. */
  output?: string;
}

/** One part of `npm test`. */
export interface Stage {
  name: string;
  /** What it needs on this machine. */
  needs: readonly Step[];
  /** Needs one core and no engine: such stages run one after the other, beside those that don't. */
  beside?: boolean;
  /** Counts. Shows its output as it comes, or, where it runs beside others, returns it. */
  run(): Promise<Outcome>;
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
