/** Error rates of the rule in ops/container/traffic/judge.ts, by simulation. */
import { cell, headOf, perMinute, runs, tables, watched } from "./judge-simulation.ts";
import type { Comparison } from "./report.ts";

/** Prints the tables of docs/benchmarks.md; a comparison for each of their cells would say less. */
export function benchJudge(progress: (line: string) => void): Promise<Comparison[]> {
  progress(
    `sent back within ${watched} s with half of the requests, of ${runs} runs each; in brackets the median seconds until then`,
  );
  for (const [what, rows] of Object.entries(tables)) {
    progress(`| ${what} before | of the release | ${perMinute.map((rate) => `${rate} a minute`).join(" | ")} |`);
    progress(`|---|---|${perMinute.map(() => "---|").join("")}`);
    for (const row of rows)
      progress(`| ${[...headOf(row), ...perMinute.map((_, column) => cell(row, column))].join(" | ")} |`);
  }
  return Promise.resolve([]);
}
