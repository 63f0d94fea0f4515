import { describe, expect, it } from "vitest";
import { betaShare, expectedErrors, judge } from "./judge.ts";
import { between, together, type Sample } from "./sample.ts";

const bounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1];

/** A number of requests of which some failed; all answers in the bucket of 10 ms, except some slow ones. */
function sample(requests: number, errors = 0, slow: [bucket: number, count: number] = [1, 0]): Sample {
  const buckets = [...bounds, Infinity].map(() => 0);
  buckets[1] = requests - slow[1];
  buckets[slow[0]] = (buckets[slow[0]] ?? 0) + slow[1];
  return { requests, errors, refused: 0, buckets, bounds };
}

describe("a release, judged by the router's counters", () => {
  it("fails when a fifth of its requests fail, as soon as enough are known", () => {
    expect(judge(sample(19, 19), sample(1000))).toBeUndefined();
    expect(judge(sample(20, 2), sample(1000))).toBeUndefined();
    expect(judge(sample(30, 6), sample(1000))).toBe(
      "6 of 30 requests failed (20 %, where 0 % of 1000 failed before and up to 1.1 % would pass)",
    );
    expect(judge(sample(20, 20), sample(0))).toMatch(
      /^20 of 20 requests failed \(100 %, where none are known from before and up to 6\.2 % would pass\)/,
    );
  });

  it.each([
    // From no knowledge of the previous release to much.
    [[200, 50], [0, 0], "back"],
    [[200, 50], [19, 0], "back"],
    [[200, 50], [21, 0], "back"],
    [[1000, 300], [19, 0], "back"],
    [[1000, 300], [21, 0], "back"],
    [[100, 15], [100, 0], "back"],
    [[1000, 100], [0, 0], "back"],
    [[1000, 50], [1000, 0], "back"],
    [[1000, 30], [100_000, 0], "back"],
    // A few errors, which may well be chance.
    [[20, 1], [21, 0], "passes"],
    [[20, 2], [0, 0], "passes"],
    [[100, 5], [21, 0], "passes"],
    [[1000, 20], [21, 0], "passes"],
    // The same share of errors in both.
    [[100, 10], [100, 10], "passes"],
    [[1000, 50], [20, 1], "passes"],
    [[1000, 300], [20, 6], "passes"],
    [[1000, 500], [1000, 500], "passes"],
    [[100_000, 1000], [100_000, 1000], "passes"],
    // Fewer errors than before.
    [[1000, 10], [1000, 100], "passes"],
    [[1000, 0], [0, 0], "passes"],
  ] as const)("%j requests and errors after %j: %s", (now, before, verdict) => {
    expect(judge(sample(now[0], now[1]), sample(before[0], before[1])) === undefined ? "passes" : "back").toBe(verdict);
  });

  it("knows more of the one before the more it sees", () => {
    const expected = [0, 10, 19, 20, 21, 50, 100, 1000, 10_000, 1_000_000].map((requests) =>
      expectedErrors({ requests, errors: 0 }),
    );
    expect(expected).toEqual([...expected].sort((a, b) => b - a));
    expect(expected[0]).toBeLessThan(0.1);
    // With many requests only their share counts.
    expect(expectedErrors({ requests: 1_000_000, errors: 50_000 })).toBeCloseTo(0.05, 2);
    expect(expectedErrors({ requests: 30, errors: 30 })).toBeLessThan(1);
  });

  it("fails when it refuses clients that the one before let in, with more room where they are not the same clients", () => {
    const refusing = (requests: number, refused: number): Sample => ({ ...sample(requests), refused });
    expect(judge(refusing(200, 60), refusing(200, 2))).toBe(
      "60 of 200 requests were refused with 401, 403 or 429 (30 %, where 1.0 % of 200 were before and up to 7.3 % would pass)",
    );
    expect(judge(refusing(200, 200), refusing(0, 0))).toMatch(/200 of 200 requests were refused/);
    expect(judge(refusing(200, 60), refusing(200, 60))).toBeUndefined();
    expect(judge(refusing(1000, 60), refusing(10_000, 20))).toBeUndefined();
    // One client that tries passwords.
    expect(judge(refusing(200, 60), refusing(200, 2), false)).toBeUndefined();
    expect(judge(refusing(200, 120), refusing(200, 2), false)).toMatch(/120 of 200 requests were refused/);
  });

  it("computes a beta distribution's shares", () => {
    // Uniform; x^2; symmetric; and of a binomial: 1 - P(no error of 10 at 20 %).
    expect(betaShare(0.3, 1, 1)).toBeCloseTo(0.3, 9);
    expect(betaShare(0.3, 2, 1)).toBeCloseTo(0.09, 9);
    expect(betaShare(0.5, 700, 700)).toBeCloseTo(0.5, 9);
    expect(betaShare(0.2, 1, 10)).toBeCloseTo(1 - 0.8 ** 10, 9);
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
    expect(judge(sample(100, 0, [5, 40]), sample(1000))).toBe(
      "40 % of 100 answers took longer than 25 ms, where 0 % of 1000 took longer than 10 ms before and up to 10 % would pass",
    );
    expect(judge(sample(100, 0, [2, 100]), sample(1000))).toBeUndefined();
    expect(judge(sample(100, 0, [5, 40]), sample(1000, 0, [5, 400]))).toBeUndefined();
    expect(judge(sample(100, 0, [5, 40]), sample(10))).toBeUndefined();
  });

  /** Answers by bucket. */
  const answers = (...buckets: number[]): Sample => ({
    ...sample(buckets.reduce((total, count) => total + count, 0)),
    buckets: [...buckets, ...Array<number>(bounds.length + 1 - buckets.length).fill(0)],
  });
  it.each([
    // All of them three times as slow, with a long tail before: none of them slower than the slowest before.
    ["back", answers(0, 0, 20, 100, 250, 400, 180, 50), answers(0, 40, 230, 340, 260, 120, 10)],
    // The median has crossed one bound.
    ["passes", answers(0, 0, 0, 0, 1000), answers(0, 0, 0, 1000)],
    ["back", answers(0, 0, 0, 0, 0, 1000), answers(0, 0, 0, 1000)],
    // Three times as slow, and nobody notices.
    ["passes", answers(0, 0, 1000), answers(1000)],
    // A tenth of the answers hang for a second.
    ["passes", answers(0, 0, 0, 900, 0, 0, 0, 0, 100), answers(0, 0, 0, 1000)],
    ["back", answers(0, 0, 0, 700, 0, 0, 0, 0, 300), answers(0, 0, 0, 1000)],
    // Faster.
    ["passes", answers(0, 0, 0, 1000), answers(0, 0, 0, 0, 0, 0, 1000)],
  ] as const)("%s: each bound of the histogram counts", (verdict, now, before) => {
    expect(judge(now, before) === undefined ? "passes" : "back").toBe(verdict);
  });
});

describe("what the router counted", () => {
  const counters = (ok: number, errors: number) => ({
    requests: { "2xx": ok, "5xx": errors, "1xx": 0 },
    buckets: [ok, errors],
    seconds: 1,
    abandoned: 0,
    refused: 0,
    hanging: 0,
  });

  it("in some time is the difference of two readings, or all of it after a restart", () => {
    expect(between(counters(10, 1), counters(25, 4), [1])).toEqual({
      requests: 18,
      errors: 3,
      refused: 0,
      buckets: [15, 3],
      bounds: [1],
    });
    expect(between(counters(10, 1), counters(2, 0), [1])).toEqual({
      requests: 2,
      errors: 0,
      refused: 0,
      buckets: [2, 0],
      bounds: [1],
    });
    expect(between(undefined, counters(2, 0), [1]).requests).toBe(2);
  });

  it("counts what clients gave up, and what hangs, as failed: once", () => {
    const start = { ...counters(10, 0), abandoned: 1, hanging: 2 };
    // Two of three that hung were given up meanwhile (499 is a 4xx), one more hangs.
    const later = { ...counters(20, 0), requests: { "2xx": 20, "4xx": 2, "5xx": 0 }, abandoned: 3, hanging: 1 };
    expect(between(start, later, [1])).toMatchObject({ requests: 13, errors: 3 });
    expect(between(undefined, later, [1])).toMatchObject({ requests: 23, errors: 4 });
  });

  it("in two times is the sum", () => {
    const one = between(undefined, counters(2, 1), [1]);
    expect(together(undefined, one)).toEqual(one);
    expect(together(one, one)).toEqual({ requests: 6, errors: 2, refused: 0, buckets: [4, 2], bounds: [1] });
  });
});
