import { describe, expect, it } from "vitest";
import { formatBytes, seconds, transferProgress } from "./units.ts";

describe("formatBytes", () => {
  it.each([
    [0, "0.0 MB"],
    [900, "0.9 kB"],
    [99_900, "99.9 kB"],
    [100_000, "0.1 MB"],
    [214_000_000, "214.0 MB"],
  ])("tells %i bytes as %s", (bytes, told) => {
    expect(formatBytes(bytes)).toBe(told);
  });
});

describe("seconds", () => {
  it("tells minutes, too, when there are any", () => {
    expect([0, 1234, 89_900, 90_000, 119_700, 605_000].map(seconds)).toEqual([
      "0.0 s",
      "1.2 s",
      "89.9 s",
      "1 min 30 s",
      "1 min 59 s",
      "10 min 5 s",
    ]);
  });
});

describe("transferProgress", () => {
  const mb = 1e6;
  it("tells bytes, rate and rest", () => {
    expect(transferProgress(100 * mb, 300 * mb, 2_000)).toBe("100.0 MB of about 300.0 MB, 50.0 MB/s, about 4 s left");
  });
  it("tells no rest that it can't know", () => {
    expect(transferProgress(100 * mb, 0, 2_000)).toBe("100.0 MB, 50.0 MB/s");
    expect(transferProgress(400 * mb, 300 * mb, 2_000)).toBe("400.0 MB, 200.0 MB/s");
    expect(transferProgress(0, 300 * mb, 0)).toBe("0.0 MB of about 300.0 MB, 0.0 MB/s");
  });
});
