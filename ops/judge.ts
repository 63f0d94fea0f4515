/** Whether a new release does worse than the one before, by what the router counted of both. docs/operations.md states the rule. */
import { answered, slowerThan, type Sample } from "./sample.ts";

/** Fewer requests than these say nothing. */
export const minimumRequests = 20;
/** Share of errors that is taken for a release about which too little is known. */
const usualErrors = 0.01;
/** So much more than before is no failure, however sure it is. */
const toleratedErrors = 0.01;
/** So many times as many slow answers as before are a failure; of a release before, at least 5 % are slow by definition. */
const slowTimes = 3;
const slowShare = 0.05;
/** One-sided 99.9 %: the question is asked again and again while a release is watched. */
const z = 3.09;

/** Wilson's score interval of a share, as 99.9 % sure bounds on either side. */
export function wilson(count: number, total: number): { lower: number; upper: number } {
  if (total === 0) return { lower: 0, upper: 1 };
  const share = count / total;
  const centre = share + (z * z) / (2 * total);
  const reach = z * Math.sqrt((share * (1 - share)) / total + (z * z) / (4 * total * total));
  const scale = 1 + (z * z) / total;
  return { lower: Math.max(0, (centre - reach) / scale), upper: Math.min(1, (centre + reach) / scale) };
}

const percent = (share: number): string => `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

/**
 * What is wrong with a release, in words; undefined when nothing is, or too little is known.
 * @param now the new release's requests, @param before those of the one that it is to replace.
 */
export function judge(now: Sample, before: Sample): string | undefined {
  if (now.requests < minimumRequests) return undefined;
  const known = before.requests >= minimumRequests;
  const expected = known ? wilson(before.errors, before.requests).upper : usualErrors;
  if (wilson(now.errors, now.requests).lower > expected + toleratedErrors) {
    const usual = known ? `${percent(before.errors / before.requests)} of ${before.requests} before` : `${percent(usualErrors)} at most`;
    return `${now.errors} of ${now.requests} requests failed (${percent(now.errors / now.requests)}, where ${usual} would be usual)`;
  }
  return slowness(now, before);
}

/** Slow is what takes longer than twice as long as 95 % of the answers did before, rounded up to a bucket's bound. */
function slowness(now: Sample, before: Sample): string | undefined {
  const [answers, earlier] = [answered(now), answered(before)];
  if (answers < minimumRequests || earlier < minimumRequests) return undefined;
  const p95 = before.bounds.findIndex((_, bucket) => slowerThan(before, bucket) <= slowShare * earlier);
  const bound = before.bounds[p95 + 1];
  // 95 % took longer than there are bounds for.
  if (p95 < 0 || bound === undefined) return undefined;
  const slow = slowerThan(now, p95 + 1);
  const usual = slowerThan(before, p95 + 1) / earlier;
  if (wilson(slow, answers).lower <= slowTimes * Math.max(slowShare, usual)) return undefined;
  return `${percent(slow / answers)} of ${answers} answers took longer than ${bound * 1000} ms, where ${percent(usual)} would be usual`;
}
