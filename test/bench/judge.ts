/** How often the rule of ops/container/traffic/judge.ts is wrong, by simulation: releases of known quality, looked at once a second as `ops switch` does. */
import { judge } from "../../ops/container/traffic/judge.ts";
import type { Sample } from "../../ops/container/traffic/sample.ts";
import type { Comparison } from "./report.ts";

const bounds = [0.01, 0.1, 1];
const runs = 300;
/** Seconds that a release is watched with half of the requests. */
const watched = 300;
const perMinute = [1, 10, 100, 1_000];
/** Shares of errors of the release before and of the new one, and what is right. */
const qualities = [
  { before: 0, now: 0, good: true },
  { before: 0.01, now: 0.01, good: true },
  { before: 0.05, now: 0.05, good: true },
  { before: 0.2, now: 0.2, good: true },
  { before: 0, now: 0.05, good: false },
  { before: 0, now: 0.1, good: false },
  { before: 0, now: 0.25, good: false },
  { before: 0, now: 0.5, good: false },
  { before: 0.05, now: 0.25, good: false },
] as const;

/** Numbers from 0 to 1, the same at each run (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Seconds until the release is sent back; undefined when it never is. */
function sentBackAfter(
  random: () => number,
  rate: number,
  quality: { before: number; now: number },
): number | undefined {
  const now: Sample = { requests: 0, errors: 0, refused: 0, buckets: [0, 0, 0, 0], bounds };
  const before: Sample = { requests: 0, errors: 0, refused: 0, buckets: [0, 0, 0, 0], bounds };
  for (let second = 1; second <= watched; second++) {
    const expected = rate / 60;
    const requests = Math.floor(expected) + (random() < expected % 1 ? 1 : 0);
    for (let request = 0; request < requests; request++) {
      const [sample, share] = random() < 0.5 ? [now, quality.now] : [before, quality.before];
      sample.requests += 1;
      if (random() < share) sample.errors += 1;
      sample.buckets[0] = (sample.buckets[0] ?? 0) + 1;
    }
    if (requests > 0 && judge(now, before) !== undefined) return second;
  }
  return undefined;
}

const percent = (share: number): string => `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

/** Prints the table of docs/benchmarks.md; a comparison for each of its cells would say less. */
export function benchJudge(progress: (line: string) => void): Promise<Comparison[]> {
  progress(
    `sent back within ${watched} s with half of the requests, of ${runs} runs each; in brackets the median seconds until then`,
  );
  progress(`| errors before | errors of the release | ${perMinute.map((rate) => `${rate} a minute`).join(" | ")} |`);
  progress(`|---|---|${perMinute.map(() => "---|").join("")}`);
  for (const [row, quality] of qualities.entries()) {
    const cells = perMinute.map((rate, column) => {
      const random = randomNumbers(1 + row * perMinute.length + column);
      const times = Array.from({ length: runs }, () => sentBackAfter(random, rate, quality))
        .filter((time) => time !== undefined)
        .sort((a, b) => a - b);
      return times.length === 0 ? "0 %" : `${percent(times.length / runs)} (${times[Math.floor(times.length / 2)]})`;
    });
    progress(
      `| ${percent(quality.before)} | ${percent(quality.now)}${quality.good ? "" : ", worse"} | ${cells.join(" | ")} |`,
    );
  }
  return Promise.resolve([]);
}
