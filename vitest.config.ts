import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
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
          // One engine, two cores: files run one after the other.
          fileParallelism: false,
        },
      },
    ],
  },
});
