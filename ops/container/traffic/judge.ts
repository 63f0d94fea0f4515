/**
 * Decides whether a new release does worse than the previous one, by the router's counters of both. docs/operations.md
 * states the rule.
 */
import { answered, slowerThan, type Sample } from "./sample.ts";

/** With fewer requests there is no verdict. */
export const minimumRequests = 20;
/**
 * Prior for the errors of any previous release: 1 % of as many requests as these. Without it, a few requests without an
 * error would let the next release fail up to a third of its own. With more requests the prior soon counts for nothing.
 */
const usual = { requests: 20, errors: 0.2 };
/** Confidence that the previous release's share of errors was not larger than the one it is compared by. */
const sureOfBefore = 0.95;
/** A larger share of errors than before that is tolerated, however certain. */
const toleratedErrors = 0.01;
/** The same for refusals, when both releases get requests of the same clients at the same time. */
const toleratedRefusals = 0.05;
/** The same for refusals compared with another time: one client may send many. */
const toleratedLater = 0.25;
/** Share of additional slow answers that is tolerated: a tenth of all. */
const toleratedSlow = 0.1;
/** Seconds below which nobody notices a difference. */
const noticed = 0.025;
/** One-sided confidence. It is high because a watched release is judged again and again. */
const sureOfErrors = 0.999;
/** Logarithm of the gamma function of a positive number (Lanczos). */
function logGamma(x: number): number {
  const coefficients = [
    76.1800917294715, -86.5053203294168, 24.01409824083091, -1.231739572450155, 1.208650973866179e-3,
    -5.395239384953e-6,
  ];
  const series = coefficients.reduce((total, coefficient, i) => total + coefficient / (x + 1 + i), 1.000000000190015);
  return (x + 0.5) * Math.log(x + 5.5) - (x + 5.5) + Math.log((Math.sqrt(2 * Math.PI) * series) / x);
}

/** Share of a beta distribution up to x: the regularized incomplete beta function, by its continued fraction (Lentz). */
export function betaShare(x: number, a: number, b: number): number {
  if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
  // The continued fraction converges fast below this bound.
  if (x > (a + 1) / (a + b + 2)) return 1 - betaShare(1 - x, b, a);
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x)) / a;
  const never0 = (value: number): number => (Math.abs(value) < 1e-300 ? 1e-300 : value);
  let c = 1;
  let d = 1 / never0(1 - ((a + b) * x) / (a + 1));
  let fraction = d;
  for (let m = 1; m <= 10_000; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / never0(1 + even * d);
    c = never0(1 + even / c);
    fraction *= d * c;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / never0(1 + odd * d);
    c = never0(1 + odd / c);
    fraction *= d * c;
    if (Math.abs(d * c - 1) < 1e-10) break;
  }
  return front * fraction;
}

/** Quantile of a beta distribution: the value with this share of the distribution below it, from 0 to 1. */
function betaQuantile(share: number, a: number, b: number): number {
  let [low, high] = [0, 1];
  for (let step = 0; step < 40; step++) {
    const middle = (low + high) / 2;
    if (betaShare(middle, a, b) < share) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

type Errors = Pick<Sample, "requests" | "errors">;

/**
 * The largest share of errors that the previous release can be expected to have, from 0 to 1. The less is known, the
 * more the prior counts.
 */
export function expectedErrors({ requests, errors }: Errors): number {
  return betaQuantile(sureOfBefore, errors + usual.errors, requests - errors + usual.requests - usual.errors);
}

/**
 * The share of errors that a release certainly has at least, from 0 to 1 (Clopper and Pearson, exact for few requests
 * too).
 */
export function sureErrors({ requests, errors }: Errors): number {
  return errors === 0 ? 0 : betaQuantile(1 - sureOfErrors, errors, requests - errors + 1);
}

const percent = (share: number): string => `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

/**
 * A release's problem, in words. Undefined: none, or too little is known.
 * @param now the new release's requests.
 * @param before those of the release that it replaces.
 * @param sameTime whether both got requests of the same clients at the same time.
 */
export function judge(now: Sample, before: Sample, sameTime = true): string | undefined {
  if (now.requests < minimumRequests) return undefined;
  const expected = expectedErrors(before) + toleratedErrors;
  if (sureErrors(now) > expected) {
    const earlier =
      before.requests === 0
        ? "none are known from before"
        : `${percent(before.errors / before.requests)} of ${before.requests} failed before`;
    return `${now.errors} of ${now.requests} requests failed (${percent(now.errors / now.requests)}, where ${earlier} and up to ${percent(expected)} would pass)`;
  }
  return refusals(now, before, sameTime) ?? slowness(now, before);
}

/** Clients that are refused (401, 403, 429) where they were not before: judged like errors, with more tolerance. */
function refusals(now: Sample, before: Sample, sameTime: boolean): string | undefined {
  const [share, earlier] = [now, before].map(({ requests, refused }) => ({ requests, errors: refused })) as [
    Errors,
    Errors,
  ];
  const expected = expectedErrors(earlier) + (sameTime ? toleratedRefusals : toleratedLater);
  if (sureErrors(share) <= expected) return undefined;
  const usual =
    before.requests === 0
      ? "none are known from before"
      : `${percent(before.refused / before.requests)} of ${before.requests} were before`;
  return `${now.refused} of ${now.requests} requests were refused with 401, 403 or 429 (${percent(now.refused / now.requests)}, where ${usual} and up to ${percent(expected)} would pass)`;
}

/**
 * For each bound of the histogram: do certainly more answers take longer than the next bound, which is at least twice
 * as long, than took longer than this one before? If so, a share of the answers takes at least twice as long, be it all
 * of them or the slowest.
 */
function slowness(now: Sample, before: Sample): string | undefined {
  const [answers, earlier] = [answered(now), answered(before)];
  if (answers < minimumRequests || earlier < minimumRequests) return undefined;
  for (const [bucket, bound] of before.bounds.entries()) {
    const next = before.bounds[bucket + 1];
    if (next === undefined || next < noticed) continue;
    const [slow, usual] = [slowerThan(now, bucket + 1), slowerThan(before, bucket)];
    // A quick exit: most bounds need no more than this comparison.
    if (slow / answers <= usual / earlier + toleratedSlow) continue;
    const expected = expectedErrors({ requests: earlier, errors: usual }) + toleratedSlow;
    if (sureErrors({ requests: answers, errors: slow }) <= expected) continue;
    return `${percent(slow / answers)} of ${answers} answers took longer than ${next * 1000} ms, where ${percent(usual / earlier)} of ${earlier} took longer than ${bound * 1000} ms before and up to ${percent(expected)} would pass`;
  }
  return undefined;
}
