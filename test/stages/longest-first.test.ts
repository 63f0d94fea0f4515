import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { project } from "../../toolchain/setup.ts";
import { longest } from "./longest-first.ts";

it("the order of the integration tests names those that there are", () => {
  expect(longest.filter((file) => !existsSync(join(project, file)))).toEqual([]);
});
