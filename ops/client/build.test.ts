import { expect, it } from "vitest";
import { buildEnvironment } from "./build.ts";

it("builds in the engine, whatever builder somebody has chosen", () => {
  expect(buildEnvironment({ PATH: "/bin", BUILDX_BUILDER: "mine", DOCKER_HOST: "ssh://x" })).toEqual({
    PATH: "/bin",
    DOCKER_HOST: "ssh://x",
  });
});
