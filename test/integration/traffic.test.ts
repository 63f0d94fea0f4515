import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { around, lostOf, percentile, type Moment } from "../bench/traffic/load-result.ts";
import { Site } from "../bench/traffic/site.ts";
import { measure, waysTable } from "../bench/traffic/traffic.ts";
import { Ours, Recreate } from "../bench/traffic/ways.ts";

/** The benchmark in short: no figure that depends on the machine is asserted. */
describe("releases under load that never retries", () => {
  let site: Site;

  beforeAll(async () => {
    site = new Site();
    await site.create();
  });
  afterAll(async () => {
    await site.remove();
  });

  it("lose no request and no acknowledged write, and repeat none", async () => {
    const result = await measure(site, new Ours(site), 8, 1_000, () => undefined);
    console.log(waysTable([result]));
    expect(result.load.lost).toEqual({});
    expect(result.load.requests).toBeGreaterThan(1_000);
    expect(result.ledger).toEqual({ acknowledged: result.load.acknowledged, missing: 0, twice: 0 });
    // Both slots have served: the releases were releases.
    const slots = new Set(result.load.moments.flatMap(({ ok }) => Object.keys(ok)));
    expect(slots).toEqual(new Set(["blue", "green"]));
  });

  it("would be seen to lose some where the server is stopped first", async () => {
    const result = await measure(site, new Recreate(site), 1, 1_000, () => undefined);
    expect(lostOf(result.load)).toBeGreaterThan(0);
    expect(result.ledger.missing).toBe(0);
  });
});

describe("the benchmark's figures", () => {
  const moments: Moment[] = [
    { ok: { blue: 3 }, lost: 0, latency: { "100": 2, "200": 1 } },
    { ok: { green: 1 }, lost: 1, latency: { "300": 1 } },
  ];
  it("are percentiles of classes, and of the moments around a release", () => {
    expect(percentile(moments, 1.05, 0.5)).toBeCloseTo(1.05 ** 100.5 / 1000);
    expect(percentile(moments, 1.05, 0.99)).toBeCloseTo(1.05 ** 300.5 / 1000);
    expect(percentile([], 1.05, 0.99)).toBeUndefined();
    const load = { start: 1_000, bucketMs: 100, growth: 1.05, moments, requests: 5, lost: { EOF: 1 }, acknowledged: 0 };
    expect(around(load, [1_160], 40)).toEqual({ near: [moments[1]], far: [moments[0]] });
    expect(lostOf(load)).toBe(1);
  });
});
