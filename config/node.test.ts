import { createRequire } from "node:module";
import { expect, it } from "vitest";
import "./node.ts";

it("leaves the stacks of errors as Node has them, and takes none for Pulumi's promises", () => {
  const failing = (): Error => new TypeError("no such thing");
  const lines = failing().stack?.split("\n") ?? [];
  expect(lines[0]).toBe("TypeError: no such thing");
  expect(lines[1]).toMatch(/^ {4}at failing \(.*node\.test\.ts:\d+:\d+\)$/);
  const debuggablePromise = (): string | undefined => new Error().stack;
  expect(debuggablePromise()).toBe("");
});

it("loads what finds the code of a cloud's functions when somebody asks for it", async () => {
  const modules = createRequire(import.meta.url).cache;
  const arborist = (): boolean => Object.keys(modules).some((file) => file.includes("/@npmcli/arborist/"));
  const { runtime } = await import("@pulumi/pulumi");
  expect(arborist()).toBe(false);
  const found = await runtime.computeCodePaths({ extraIncludePaths: ["config/node.ts"] });
  expect([...found.keys()]).toContain("config/node.ts");
  expect(arborist()).toBe(true);
  expect((await runtime.computeCodePaths({ extraIncludePaths: ["config/plan.ts"] })).has("config/plan.ts")).toBe(true);
});
