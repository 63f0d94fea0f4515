import { describe, expect, it } from "vitest";
import { judge, wilson } from "./judge.ts";
import { between, together, type Sample } from "./sample.ts";

const bounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1];

/** Requests of which so many failed; all answers in the bucket of 10 ms, but for some slow ones. */
function sample(requests: number, errors = 0, slow: [bucket: number, count: number] = [1, 0]): Sample {
  const buckets = [...bounds, Infinity].map(() => 0);
  buckets[1] = requests - slow[1];
  buckets[slow[0]] = (buckets[slow[0]] ?? 0) + slow[1];
  return { requests, errors, buckets, bounds };
}

describe("a release, judged by the router's counters", () => {
  it("fails when a fifth of its requests fail, as soon as enough are known", () => {
    expect(judge(sample(19, 19), sample(1000))).toBeUndefined();
    expect(judge(sample(20, 2), sample(1000))).toBeUndefined();
    expect(judge(sample(30, 6), sample(1000))).toBe("6 of 30 requests failed (20 %, where 0 % of 1000 before would be usual)");
    expect(judge(sample(20, 20), sample(0))).toMatch(/^20 of 20 requests failed \(100 %, where 1\.0 % at most would be usual\)/);
  });

  it("passes with as many errors as the one before, and with a few more", () => {
    expect(judge(sample(1000, 50), sample(10_000, 500))).toBeUndefined();
    expect(judge(sample(1000, 55), sample(10_000, 500))).toBeUndefined();
    expect(judge(sample(1000, 12), sample(10_000))).toBeUndefined();
    expect(judge(sample(1000, 120), sample(10_000, 500))).toMatch(/120 of 1000/);
  });

  it("is seldom failed by chance: a thousand looks at two releases that are the same", () => {
    // A small linear congruential generator: the same numbers at each run.
    let seed = 42;
    const random = (): number => (seed = (seed * 1664525 + 1013904223) % 4294967296) / 4294967296;
    let failed = 0;
    for (let run = 0; run < 1000; run++) {
      const errors = (n: number): number => Array.from({ length: n }, random).filter((x) => x < 0.02).length;
      if (judge(sample(100, errors(100)), sample(1000, errors(1000))) !== undefined) failed += 1;
    }
    expect(failed).toBeLessThanOrEqual(2);
  });

  it("fails when far more answers are slow", () => {
    expect(judge(sample(100, 0, [5, 40]), sample(1000))).toBe("40 % of 100 answers took longer than 25 ms, where 0 % would be usual");
    expect(judge(sample(100, 0, [2, 100]), sample(1000))).toBeUndefined();
    expect(judge(sample(100, 0, [5, 40]), sample(1000, 0, [5, 400]))).toBeUndefined();
    expect(judge(sample(100, 0, [5, 40]), sample(10))).toBeUndefined();
  });

  it("has a sure interval for any share", () => {
    for (const [count, total] of [[0, 10], [10, 10], [3, 50], [1, 100_000]] as const) {
      const { lower, upper } = wilson(count, total);
      expect(lower).toBeLessThanOrEqual(count / total);
      expect(upper).toBeGreaterThanOrEqual(count / total);
    }
    expect(wilson(0, 0)).toEqual({ lower: 0, upper: 1 });
  });
});

describe("what the router counted", () => {
  const counters = (ok: number, errors: number) => ({ requests: { "2xx": ok, "5xx": errors, "1xx": 0 }, buckets: [ok, errors], seconds: 1 });

  it("in some time is the difference of two readings, or all of it after a restart", () => {
    expect(between(counters(10, 1), counters(25, 4), [1])).toEqual({ requests: 18, errors: 3, buckets: [15, 3], bounds: [1] });
    expect(between(counters(10, 1), counters(2, 0), [1])).toEqual({ requests: 2, errors: 0, buckets: [2, 0], bounds: [1] });
    expect(between(undefined, counters(2, 0), [1]).requests).toBe(2);
  });

  it("in two times is the sum", () => {
    const one = between(undefined, counters(2, 1), [1]);
    expect(together(undefined, one)).toEqual(one);
    expect(together(one, one)).toEqual({ requests: 6, errors: 2, buckets: [4, 2], bounds: [1] });
  });
});
