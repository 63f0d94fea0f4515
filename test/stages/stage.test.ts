import { describe, expect, it } from "vitest";
import { inLanes, type Stage } from "./stage.ts";

describe("stages that run beside others", () => {
  const stage = (name: string, beside?: Stage["beside"]): Stage => ({
    name,
    needs: [],
    ...(beside === undefined ? {} : { beside }),
    run: () => Promise.resolve({ passed: 1, failed: 0, skipped: 0 }),
  });
  const lint = stage("lint", "always");
  const unit = stage("unit", "integration");
  const [go, integration] = [stage("go", "integration"), stage("integration")];

  it("are the checks, and beside integration tests all that they are not", () => {
    expect(inLanes([lint, unit, go, integration])).toEqual({ main: [integration], beside: [lint, unit, go] });
  });

  it("are the checks alone where there are no integration tests to wait for", () => {
    expect(inLanes([lint, unit, go])).toEqual({ main: [unit, go], beside: [lint] });
  });
});
