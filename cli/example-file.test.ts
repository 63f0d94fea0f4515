import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { project } from "../toolchain/setup.ts";
import { makeFromExample } from "./example-file.ts";
import { Failure } from "./failure.ts";
import { StackFile } from "./stack-file.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "togather-example-"));
  writeFileSync(join(directory, "Pulumi.development.yaml.example"), "config: {}\n");
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

describe("a stack's file that has an example", () => {
  it("is made from it once, and is this machine's own from then on", () => {
    expect(makeFromExample(directory, "development")).toMatch(/^Made Pulumi\.development\.yaml from /);
    writeFileSync(join(directory, "Pulumi.development.yaml"), "encryptionsalt: v1:mine\nconfig: {}\n");
    expect(makeFromExample(directory, "organization/togather/development")).toBeUndefined();
    expect(readFileSync(join(directory, "Pulumi.development.yaml"), "utf8")).toContain("mine");
  });

  it("is none of a stack without one", () => {
    expect(makeFromExample(directory, "production")).toBeUndefined();
    expect(readdirSync(directory)).toEqual(["Pulumi.development.yaml.example"]);
  });

  it("is named with the command that makes it, where it is not there", () => {
    const open = () => StackFile.open(directory, "development");
    expect(open).toThrow(Failure);
    expect(open).toThrow(
      expect.objectContaining({ fix: expect.stringMatching(/up --stack development makes it/) as unknown }),
    );
  });

  it("is ignored by Git where the first command writes it", () => {
    const ignored = execFileSync("git", ["check-ignore", "--no-index", "Pulumi.development.yaml"], { cwd: project });
    expect(ignored.toString().trim()).toBe("Pulumi.development.yaml");
    const tracked = execFileSync("git", ["ls-files", "Pulumi.*"], { cwd: project }).toString().split("\n");
    expect(tracked).toContain("Pulumi.development.yaml.example");
    expect(tracked).not.toContain("Pulumi.development.yaml");
  });
});
