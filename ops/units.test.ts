import { describe, expect, it } from "vitest";
import { transferProgress } from "./units.ts";

describe("transferProgress", () => {
  const mb = 1024 * 1024;
  it("tells bytes, rate and rest", () => {
    expect(transferProgress(100 * mb, 300 * mb, 2_000)).toBe("100.0 MB of about 300.0 MB, 50.0 MB/s, about 4 s left");
  });
  it("tells no rest that it can't know", () => {
    expect(transferProgress(100 * mb, 0, 2_000)).toBe("100.0 MB, 50.0 MB/s");
    expect(transferProgress(400 * mb, 300 * mb, 2_000)).toBe("400.0 MB, 200.0 MB/s");
    expect(transferProgress(0, 300 * mb, 0)).toBe("0.0 MB of about 300.0 MB, 0.0 MB/s");
  });
});
