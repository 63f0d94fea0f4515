/** `npm run bench -- traffic`: releases under load that never retries, ours and the usual ways. docs/benchmarks.md explains the figures. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { median, type Comparison } from "../report.ts";
import { around, lostOf, percentile, throughput, type LoadResult } from "./load-result.ts";
import { plot, type Plotted } from "./plot.ts";
import { Site } from "./site.ts";
import { Ours, Recreate, Reload, Rollout, Static, type Way } from "./ways.ts";

/** The extent of the measurements. */
export interface Extent {
  /** Releases of ours, and of each other way. */
  releases: number;
  othersReleases: number;
  /** Time between two releases, in ms: their seconds must not overlap. */
  betweenMs: number;
  /** Turns of the throughput comparison, and seconds of each. */
  turns: number;
  turnSeconds: number;
}

const full: Extent = { releases: 100, othersReleases: 15, betweenMs: 2_500, turns: 3, turnSeconds: 8 };
/** Clients whose pauses leave the two processors some air, so that latencies say something. */
const paced = { busy: 8, pauseMs: 3, thinking: 24 };
const saturating = { busy: 8, pauseMs: 0, thinking: 0 };

export interface WayResult {
  name: string;
  what: string;
  releases: number[];
  load: LoadResult;
  ledger: { acknowledged: number; missing: number; twice: number };
}

/** Runs one way: load, releases in between, load ends. */
export async function measure(
  site: Site,
  way: Way,
  releases: number,
  betweenMs: number,
  progress: (line: string) => void,
): Promise<WayResult> {
  await way.start();
  const load = await site.startLoad(paced);
  const times: number[] = [];
  await sleep(betweenMs);
  for (let i = 1; i <= releases; i++) {
    times.push(await way.release());
    if (i % 10 === 0 || i === releases) progress(`${way.name}: ${i} of ${releases} releases`);
    await sleep(betweenMs);
  }
  const result = await load.stop();
  const found = { name: way.name, what: way.what, releases: times, load: result, ledger: site.ledger() };
  for (const slot of ["blue", "green"] as const) await site.stopSlot(slot).catch(() => undefined);
  await site.removeRouter();
  await site.forget();
  return found;
}

/** Answers a second of the router, and of a plain nginx in front of the same server, in turn. */
async function compareThroughput(
  turns: number,
  seconds: number,
  progress: (line: string) => void,
): Promise<{ ours: number[]; plain: number[] }> {
  const results = { ours: [] as number[], plain: [] as number[] };
  for (let turn = 1; turn <= turns; turn++) {
    for (const kind of ["plain", "ours"] as const) {
      const site = new Site();
      try {
        await site.create();
        await (kind === "ours" ? new Ours(site) : new Static(site)).start();
        const load = await site.startLoad(saturating);
        await sleep(seconds * 1000);
        results[kind].push(throughput(await load.stop()));
      } finally {
        await site.remove();
      }
    }
    progress(
      `throughput, turn ${turn} of ${turns}: ours ${Math.round(results.ours.at(-1) ?? 0)}/s, plain nginx ${Math.round(results.plain.at(-1) ?? 0)}/s`,
    );
  }
  return results;
}

/** ms from a release until its predecessor gave its last answer, at a resolution of 100 ms. */
function lastOfOld({ load, releases }: WayResult): number[] {
  return releases.map((at, i) => {
    const until = releases[i + 1] ?? Infinity;
    const old = i % 2 === 0 ? "blue" : "green";
    let last = 0;
    load.moments.forEach(({ ok }, index) => {
      const time = load.start + index * load.bucketMs;
      if (time < until - 1_000 && time >= at - load.bucketMs && (ok[old] ?? 0) > 0) last = time + load.bucketMs - at;
    });
    return last;
  });
}

const perMillion = ({ load }: WayResult): number => (lostOf(load) / load.requests) * 1_000_000;
const ms = (value: number | undefined): string => (value === undefined ? "-" : `${value.toFixed(1)} ms`);

/** The table of the four ways. */
export function waysTable(results: readonly WayResult[]): string {
  const rows = results.map(({ name, what, releases, load, ledger }) => {
    const { near, far } = around(load, releases, 500);
    const reasons = Object.entries(load.lost)
      .sort(([, a], [, b]) => b - a)
      .slice(0, 3)
      .map(([reason, count]) => `${reason} ${count}`)
      .join(", ");
    const rate = (lostOf(load) / load.requests) * 1_000_000;
    return `| ${name} | ${what} | ${releases.length} | ${load.requests.toLocaleString("en")} | ${lostOf(load)}${reasons === "" ? "" : ` (${reasons})`} | ${rate.toFixed(0)} | ${ms(percentile(far, load.growth, 0.99))} | ${ms(percentile(near, load.growth, 0.99))} | ${ledger.acknowledged.toLocaleString("en")}, ${ledger.missing} missing, ${ledger.twice} twice |`;
  });
  return [
    "| way | what a release is | releases | requests | lost | lost per million | p99 steady | p99 within 0.5 s of a release | acknowledged writes |",
    "|---|---|---|---|---|---|---|---|---|",
    ...rows,
  ].join("\n");
}

/**
 * Runs all of it.
 * @returns the figures that have a target.
 */
export async function benchTraffic(progress: (line: string) => void, extent = full): Promise<Comparison[]> {
  const results: WayResult[] = [];
  const kinds = [Ours, Reload, Recreate, Rollout] as const;
  for (const kind of kinds) {
    const site = new Site();
    try {
      await site.create();
      results.push(
        await measure(
          site,
          new kind(site),
          kind === Ours ? extent.releases : extent.othersReleases,
          extent.betweenMs,
          progress,
        ),
      );
    } finally {
      await site.remove();
    }
    const last = results.at(-1);
    if (last)
      progress(
        `${last.name}: ${last.load.requests} requests, ${lostOf(last.load)} lost, ${last.ledger.missing} acknowledged writes missing`,
      );
  }
  const { ours, plain } = await compareThroughput(extent.turns, extent.turnSeconds, progress);
  const directory = join(import.meta.dirname, "../../../bench-results");
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, "traffic.md"), `${waysTable(results)}\n`);
  writeFileSync(join(directory, "traffic.svg"), await plot(results.map(plotted)));
  progress(`written to bench-results/traffic.md and traffic.svg\n\n${waysTable(results)}\n`);

  const [mine, reload] = results;
  if (mine === undefined || reload === undefined) throw new Error("nothing was measured");
  const { near, far } = around(mine.load, mine.releases, 500);
  const [p99, steady] = [percentile(near, mine.load.growth, 0.99), percentile(far, mine.load.growth, 0.99)];
  if (p99 === undefined || steady === undefined) throw new Error("no latencies were measured");
  return [
    {
      name: "requests lost per million, against a reload",
      unit: "",
      ours: perMillion(mine),
      baseline: perMillion(reload),
      target: "0 lost",
      met: lostOf(mine.load) === 0,
    },
    {
      name: "acknowledged writes missing or twice, against all",
      unit: "",
      ours: mine.ledger.missing + mine.ledger.twice,
      baseline: mine.ledger.acknowledged,
      target: "0",
      met: mine.ledger.missing + mine.ledger.twice === 0,
    },
    {
      name: "p99 within 0.5 s of a switch, against the rest",
      unit: "ms",
      ours: p99,
      baseline: steady,
      target: "<= 1.2",
      met: p99 / steady <= 1.2,
    },
    {
      name: "requests a second, against plain nginx with one upstream",
      unit: "/s",
      ours: median(ours),
      baseline: median(plain),
      target: ">= 0.95",
      met: median(ours) / median(plain) >= 0.95,
    },
    {
      name: "from the switch to the last answer of the old slot, against 200 ms",
      unit: "ms",
      ours: median(lastOfOld(mine)),
      baseline: 200,
      target: "<= 1",
      met: median(lastOfOld(mine)) <= 200,
    },
  ];
}

/** Half a minute in the middle of a run. */
function plotted({ name, load, releases }: WayResult): Plotted {
  const first = releases[Math.max(0, Math.floor(releases.length / 2) - 3)] ?? load.start;
  const from = first - 1_500;
  return { name, load, releases, from, to: from + 20_000 };
}
