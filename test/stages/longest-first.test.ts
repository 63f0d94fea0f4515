import { globSync } from "node:fs";
import { expect, it } from "vitest";
import { project } from "../../toolchain/setup.ts";
import { longest } from "./longest-first.ts";

it("the order of the integration tests names all that there are, and no others", () => {
  expect([...longest].sort()).toEqual(globSync("test/integration/**/*.test.ts", { cwd: project }).sort());
});
