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
