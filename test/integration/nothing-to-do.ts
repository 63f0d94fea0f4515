import { expect } from "vitest";
import type { TestStack } from "./stack.ts";

/** A preview finds nothing to change, whether it asks the Docker host or not. */
export async function expectNothingToDo(stack: TestStack): Promise<void> {
  for (const flags of [[], ["--refresh"]]) {
    const { ok, output, changes } = await stack.run("preview", flags);
    expect(ok, output).toBe(true);
    expect(Object.keys(changes), output).toEqual(["unchanged"]);
  }
}
