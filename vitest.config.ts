import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { LongestFirst } from "./test/stages/longest-first.ts";

export default defineConfig({
  test: {
    // One more than cores: a file of whole stacks waits for a third of its time. test/integration/addresses.ts has shares for four.
    maxWorkers: Math.min(4, Math.max(2, availableParallelism() + 1)),
    sequence: { sequencer: LongestFirst },
    projects: [
      // A busy machine is no failure.
      {
        test: {
          name: "unit",
          include: ["**/*.test.ts"],
          exclude: ["node_modules/**", "test/integration/**"],
          testTimeout: 60_000,
        },
      },
      {
        test: {
          name: "integration",
          include: ["test/integration/**/*.test.ts"],
          globalSetup: "test/integration/bundled-images.ts",
          testTimeout: 600_000,
          hookTimeout: 900_000,
        },
      },
    ],
  },
});
