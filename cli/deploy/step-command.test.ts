import { afterEach, expect, it, vi } from "vitest";
import { stepCommand } from "./step-command.ts";

afterEach(() => vi.unstubAllEnvs());

it("hands on the secrets that are given, and none that stand around: neither the server's nor Pulumi's", () => {
  const around = {
    JWT_SECRET: "canary-jwt",
    DATABASE_URL: "canary-url",
    DATABASE_PASSWORD: "canary-password",
    PULUMI_CONFIG_PASSPHRASE: "canary-passphrase",
    PULUMI_ACCESS_TOKEN: "canary-token",
  };
  for (const [name, value] of Object.entries(around)) vi.stubEnv(name, value);
  const { args, options } = stepCommand("fail", { contract: 1 }, "ssh://node");
  expect(JSON.stringify([args, options])).not.toContain("canary");
  expect(options).toMatchObject({ extendEnv: false, env: { DOCKER_HOST: "ssh://node", PATH: process.env["PATH"] } });
  const given = stepCommand("restore", { contract: 1 }, "", { DATABASE_URL: "the stack's own" });
  expect(given.options.env).toMatchObject({ DATABASE_URL: "the stack's own", TOGATHER_REQUEST: '{"contract":1}' });
  expect(JSON.stringify(given)).not.toContain("canary");
});
