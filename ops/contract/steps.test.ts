import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { stepEndings } from "./endings.ts";
import { contract, isContainerStep, type StepName } from "./steps.ts";

const project = join(import.meta.dirname, "..", "..");
const steps = Object.keys(contract) as StepName[];
/** Each step with the part of its definition that all steps share. */
const definitions = steps.map((step) => {
  const { runs, request, network, mounts, resource, ending } = contract[step];
  return { step, runs, fields: Object.keys(request.shape), network, mounts, resource, ending };
});

describe("the registry of steps", () => {
  it("gives each component's command to one step, and its parts no name twice", () => {
    const components = definitions.flatMap(({ resource }) => resource?.components ?? []);
    expect(new Set(components).size).toBe(components.length);
    expect(components.length).toBeGreaterThan(15);
  });

  it("lets a request carry what its network and mounts take, and nothing of them that it has not", () => {
    for (const { step, runs, fields, network, mounts } of definitions) {
      expect(fields.includes("network"), step).toBe(network === "private");
      expect(fields.includes("backupLocation"), step).toBe((mounts as readonly string[]).includes("backups"));
      expect(fields.includes("stateLocation") && fields.includes("logLocation"), step).toBe(runs === "container");
      if (runs === "container")
        expect(fields.includes("volume"), step).toBe((mounts as readonly string[]).includes("router"));
    }
  });

  it("has a program in the ops image for each step that runs there, and for no other", () => {
    const programs = readdirSync(join(project, "ops/container/steps"))
      .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts") && file !== "index.ts")
      .map((file) => file.replace(/\.ts$/, ""));
    expect(programs.sort()).toEqual(steps.filter(isContainerStep).sort());
  });

  it("knows every ending by its exit code, and no code twice", () => {
    for (const { step, ending } of definitions)
      if (ending !== undefined) expect(stepEndings[ending], step).toBeDefined();
    const codes = Object.values(stepEndings).map(({ code }) => code);
    expect(new Set<number>(codes).size).toBe(codes.length);
  });

  it("is what docs/architecture.md lists of the graph's steps", () => {
    const listed = /^A step \((.*?)\) is a/m.exec(readFileSync(join(project, "docs/architecture.md"), "utf8"))?.[1];
    const named = [...(listed ?? "").matchAll(/`(\w+)`/g)].map(([, name]) => name);
    const inGraph = definitions.filter(({ resource }) => resource !== undefined).map(({ step }) => step);
    expect(named.sort()).toEqual(inGraph.sort());
  });
});
