import { describe, expect, it } from "vitest";
import { deploymentIdOf } from "./deployment-id.ts";

describe("deploymentIdOf", () => {
  const time = new Date("2026-01-28T14:30:22.999Z");
  it.each([
    ["abc1234567890abcdef", "20260128_143022_abc1234"],
    ["abc1234", "20260128_143022_abc1234"],
    [`tree-${"f".repeat(64)}`, "20260128_143022_fffffff"],
    [`sha256:${"0123456789abcdef".repeat(4)}`, "20260128_143022_0123456"],
  ])("%s", (commit, expected) => {
    expect(deploymentIdOf(time, commit)).toBe(expected);
  });
});
