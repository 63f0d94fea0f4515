/** The results of a run's clients, and figures from them. */

/** 100 ms of a run, by the end of the requests. */
export interface Moment {
  ok: Record<string, number>;
  lost: number;
  /** Latency class → requests: class i is growth^i microseconds. */
  latency: Record<string, number>;
}

export interface LoadResult {
  /** ms since 1970. */
  start: number;
  bucketMs: number;
  growth: number;
  moments: Moment[];
  requests: number;
  lost: Record<string, number>;
  acknowledged: number;
}

export const lostOf = ({ lost }: LoadResult): number => Object.values(lost).reduce((total, count) => total + count, 0);

/** A percentile of the latencies in some moments, in ms; undefined where there were no answers. */
export function percentile(moments: readonly Moment[], growth: number, share: number): number | undefined {
  const classes = new Map<number, number>();
  let total = 0;
  for (const { latency } of moments) {
    for (const [key, count] of Object.entries(latency)) {
      classes.set(Number(key), (classes.get(Number(key)) ?? 0) + count);
      total += count;
    }
  }
  let seen = 0;
  for (const [key, count] of [...classes].sort(([a], [b]) => a - b)) {
    seen += count;
    if (seen >= share * total) return growth ** (key + 0.5) / 1000;
  }
  return undefined;
}

/** The moments within so many ms of any of these times, and all others. */
export function around(
  { moments, start, bucketMs }: LoadResult,
  times: readonly number[],
  reachMs: number,
): { near: Moment[]; far: Moment[] } {
  const near: Moment[] = [];
  const far: Moment[] = [];
  moments.forEach((moment, i) => {
    const time = start + (i + 0.5) * bucketMs;
    (times.some((at) => Math.abs(at - time) <= reachMs) ? near : far).push(moment);
  });
  return { near, far };
}

/** Answers a second over the whole run, without its first and last half second. */
export function throughput({ moments, bucketMs }: LoadResult): number {
  const edge = Math.round(500 / bucketMs);
  const inner = moments.slice(edge, -edge);
  const answers = inner.reduce((total, { ok }) => total + Object.values(ok).reduce((sum, count) => sum + count, 0), 0);
  return (answers / (inner.length * bucketMs)) * 1000;
}
