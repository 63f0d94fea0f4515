import { describe, expect, it } from "vitest";
import { firstCommandFor } from "./new-stack.ts";

describe("the first command for a stack", () => {
  it.each([
    ["up --stack production", "production"],
    ["up --yes --stack=production", "production"],
    ["preview -s production", "production"],
    ["config set --stack production --secret togather:jwtSecret abc", "production"],
    ["--stack acme/togather/production up", "acme/togather/production"],
  ])("%s", (line, stack) => {
    expect(firstCommandFor(line.split(" "), {})?.stack).toBe(stack);
  });

  it("takes the stack from the environment, unless one is named", () => {
    expect(firstCommandFor(["up"], { PULUMI_STACK: "staging" })).toEqual({ stack: "staging", preview: false });
    expect(firstCommandFor(["preview", "--stack", "production"], { PULUMI_STACK: "staging" })).toEqual({
      stack: "production",
      preview: true,
    });
  });

  it.each([
    "up",
    "stack init production",
    "stack output serving --stack production",
    "destroy --stack production",
    "refresh --stack production",
    "up --help --stack production",
    "--version",
    "",
  ])("is not: %s", (line) => {
    expect(
      firstCommandFor(
        line.split(" ").filter((word) => word !== ""),
        {},
      ),
    ).toBeUndefined();
  });
});
