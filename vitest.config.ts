import { defineConfig } from "vitest/config";
import { LongestFirst } from "./test/stages/longest-first.ts";

export default defineConfig({
  test: {
    // Tests wait for containers more than they compute: two at a time on two cores.
    maxWorkers: 2,
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
          testTimeout: 600_000,
          hookTimeout: 900_000,
        },
      },
    ],
  },
});
