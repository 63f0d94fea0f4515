import { describe, expect, it } from "vitest";
import { bundledImageDigest, bundledImageTag } from "./image.ts";

describe("bundledImageDigest", () => {
  it("is the same every time, and another for each image", () => {
    const images = ["ops", "postgres", "nginx"] as const;
    const digests = images.map((image) => bundledImageDigest(image));
    expect(digests).toEqual(images.map((image) => bundledImageDigest(image)));
    expect(new Set(digests).size).toBe(3);
    for (const digest of digests) expect(digest).toMatch(/^[0-9a-f]{64}$/);
    expect(bundledImageTag("ops")).toBe(`togather-ops:${digests[0]?.slice(0, 12) ?? ""}`);
  });

  it("is fast enough for every preview", () => {
    const started = performance.now();
    bundledImageDigest("ops");
    expect(performance.now() - started).toBeLessThan(150);
  });
});
