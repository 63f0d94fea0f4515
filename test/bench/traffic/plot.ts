/** The plot: requests a second by slot, lost ones, and p50 and p99 over time, one column for each way. */
import { parse, View } from "vega";
import { compile, type TopLevelSpec } from "vega-lite";
import { percentile, type LoadResult, type Moment } from "./load-result.ts";

/** A part of a way's run. */
export interface Plotted {
  name: string;
  load: LoadResult;
  /** ms since 1970, as are from and to. */
  releases: number[];
  from: number;
  to: number;
}

/** Moments for one point: 200 ms. */
const together = 2;

interface Point {
  way: string;
  second: number;
  series: string;
  value: number;
}

function points({ name, load, from, to }: Plotted): { rates: Point[]; latencies: Point[] } {
  const rates: Point[] = [];
  const latencies: Point[] = [];
  for (let i = 0; i + together <= load.moments.length; i += together) {
    const time = load.start + i * load.bucketMs;
    if (time < from || time > to) continue;
    const second = (time - from) / 1000;
    const moments: Moment[] = load.moments.slice(i, i + together);
    const perSecond = 1000 / (together * load.bucketMs);
    for (const slot of ["blue", "green"])
      rates.push({
        way: name,
        second,
        series: slot,
        value: moments.reduce((sum, { ok }) => sum + (ok[slot] ?? 0), 0) * perSecond,
      });
    rates.push({
      way: name,
      second,
      series: "lost",
      value: moments.reduce((sum, { lost }) => sum + lost, 0) * perSecond,
    });
    for (const [series, share] of [
      ["p50", 0.5],
      ["p99", 0.99],
    ] as const) {
      const value = percentile(moments, load.growth, share);
      if (value !== undefined) latencies.push({ way: name, second, series, value });
    }
  }
  return { rates, latencies };
}

/** One SVG. */
export async function plot(ways: readonly Plotted[]): Promise<string> {
  const column = (way: Plotted, first: boolean): object => {
    const { rates, latencies } = points(way);
    const releases = way.releases
      .filter((at) => at >= way.from && at <= way.to)
      .map((at) => ({ second: (at - way.from) / 1000 }));
    const x = {
      field: "second",
      type: "quantitative",
      title: "seconds",
      scale: { domain: [0, (way.to - way.from) / 1000] },
    };
    const rule = {
      data: { values: releases },
      mark: { type: "rule", strokeDash: [3, 3], color: "#888" },
      encoding: { x },
    };
    const title = (text: string): string | null => (first ? text : null);
    return {
      title: way.name,
      vconcat: [
        {
          width: 480,
          height: 150,
          layer: [
            rule,
            {
              data: { values: rates },
              mark: { type: "line", interpolate: "step-after" },
              encoding: {
                x,
                y: { field: "value", type: "quantitative", title: title("requests a second") },
                color: {
                  field: "series",
                  type: "nominal",
                  title: "answered by",
                  scale: { domain: ["blue", "green", "lost"], range: ["#3b6fd4", "#2a9d4a", "#d62728"] },
                },
              },
            },
          ],
        },
        {
          width: 480,
          height: 110,
          layer: [
            rule,
            {
              data: { values: latencies },
              mark: "line",
              encoding: {
                x,
                y: {
                  field: "value",
                  type: "quantitative",
                  title: title("latency, ms (log)"),
                  scale: { type: "log", domain: [0.5, 2000], clamp: true },
                },
                color: {
                  field: "series",
                  type: "nominal",
                  title: "latency",
                  scale: { domain: ["p50", "p99"], range: ["#999", "#e07b00"] },
                },
              },
            },
          ],
        },
      ],
      resolve: { scale: { color: "independent" } },
    };
  };
  const spec = {
    $schema: "https://vega.github.io/schema/vega-lite/v6.json",
    background: "white",
    title: { text: "Releases under load that never retries (dashed: a release)", anchor: "start" },
    columns: 2,
    concat: ways.map((way, i) => column(way, i % 2 === 0)),
  } as unknown as TopLevelSpec;
  return new View(parse(compile(spec).spec), { renderer: "none" }).toSVG();
}
