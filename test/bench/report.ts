/** One of our figures with a baseline from the same run. */
export interface Comparison {
  name: string;
  unit: string;
  ours: number;
  baseline: number;
  /** Of the ratio, as people read it. */
  target: string;
  met: boolean;
}

/**
 * The median.
 * @throws on an empty list: nothing was measured.
 */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)];
  if (middle === undefined) throw new Error("nothing was measured");
  return sorted.length % 2 === 1 ? middle : (middle + (sorted[sorted.length / 2 - 1] ?? middle)) / 2;
}

/** The table that `npm run bench` prints and keeps. */
export function markdownTable(comparisons: readonly Comparison[]): string {
  const rows = comparisons.map(
    ({ name, unit, ours, baseline, target, met }) =>
      `| ${name} | ${Math.round(ours)} ${unit} | ${Math.round(baseline)} ${unit} | ${(ours / baseline).toFixed(2)} | ${target} | ${met ? "yes" : "no"} |`,
  );
  return ["| what | ours | baseline | ratio | target | met |", "|---|---|---|---|---|---|", ...rows].join("\n");
}
