import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { firstCommandFor, wasMade } from "./new-stack.ts";

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

it("knows the file of a stack that was made by how its secrets are encrypted", () => {
  const directory = mkdtempSync(join(tmpdir(), "togather-new-stack-"));
  try {
    const config = "config:\n  togather:environment: staging\n  togather:note: encryptionsalt\n";
    writeFileSync(join(directory, "Pulumi.new.yaml"), config);
    writeFileSync(join(directory, "Pulumi.made.yaml"), `encryptionsalt: v1:abc\n${config}`);
    writeFileSync(join(directory, "Pulumi.cloud.yaml"), `${config}secretsprovider: awskms://alias/x\n`);
    const made = ["new", "made", "acme/togather/made", "cloud", "other"].map((stack) => wasMade(directory, stack));
    expect(made).toEqual([false, true, true, true, false]);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
