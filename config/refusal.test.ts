import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SettingsError } from "./problems.ts";
import { readRefusal, refusalVariable } from "./refusal-file.ts";
import { Refusal, tellRefusal } from "./refusal.ts";
import { toRunError } from "./run-error.ts";
import { RunError } from "./pulumi-runtime.ts";
import { StepError } from "../ops/contract/errors.ts";

let directory = "";
const file = (): string => join(directory, "refusal");
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "togather-refusal-"));
});
afterEach(() => {
  rmSync(directory, { recursive: true });
});

/** The refusal that the command reads after a program that ends with this error. */
async function after(error: unknown): Promise<string | undefined> {
  const env = { [refusalVariable]: file() };
  await expect(tellRefusal(env, () => Promise.reject(error as Error))).rejects.toBe(error);
  return readRefusal(file());
}

describe("a refusal of the program", () => {
  it("reaches the command by its code, and Pulumi as an error without a stack trace", async () => {
    expect(await after(new Refusal("lock", "somebody else deploys"))).toBe("lock");
    const settings = toRunError(new SettingsError([{ where: "togather:tls", what: "is missing" }]));
    expect(RunError.isInstance(settings)).toBe(true);
    expect(await after(settings)).toBe("config");
  });

  it("is no other error, and nothing that the file holds otherwise", async () => {
    expect(await after(toRunError(new StepError("the Docker host does not answer")))).toBeUndefined();
    expect(await after(new Error("of the program"))).toBeUndefined();
    expect(existsSync(file())).toBe(false);
    writeFileSync(file(), "rolledBack");
    expect(readRefusal(file())).toBeUndefined();
  });

  it("has nobody to tell under a plain pulumi up", async () => {
    const error = new Refusal("config", "…");
    await expect(tellRefusal({}, () => Promise.reject(error))).rejects.toBe(error);
  });
});
