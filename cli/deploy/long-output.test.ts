import { expect, it } from "vitest";
import { longOutput, saysTooLong, withoutLongOutput } from "./long-output.ts";

const secret = (ciphertext: string) => ({
  "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
  ciphertext,
});
const resource = (name: string, outputs: Record<string, unknown>, type = "command:local:Command") => ({
  urn: `urn:pulumi:s::togather::${type}::${name}`,
  type,
  inputs: { create: "node" },
  outputs,
  dependencies: [],
});
const state = (...resources: object[]): string =>
  JSON.stringify({
    version: 3,
    deployment: { manifest: { time: "t" }, secrets_providers: { type: "passphrase" }, resources },
  });

it("finds what a step can't be started with, encrypted or not, and takes out that alone", () => {
  const short = resource("begin", { stdout: "{}", stderr: "x".repeat(90_000) });
  const switched = { stdout: '{"to":"blue"}', environment: secret("e".repeat(200_000)) };
  const foreign = resource("router", { stderr: "y".repeat(140_000) }, "docker:index/container:Container");
  const before = state(
    short,
    resource("switch-traffic", { ...switched, stderr: "y".repeat(140_000) }),
    resource("green-snapshot", { stdout: "{}", stderr: secret("v1:".padEnd(190_000, "z")) }),
    foreign,
  );
  expect(longOutput(before)).toEqual(["switch-traffic", "green-snapshot"]);
  expect(JSON.parse(withoutLongOutput(before))).toEqual(
    JSON.parse(
      state(
        short,
        resource("switch-traffic", { ...switched, stderr: "" }),
        resource("green-snapshot", { stdout: "{}", stderr: "" }),
        foreign,
      ),
    ),
  );
  expect(longOutput(withoutLongOutput(before))).toEqual([]);
});

it("knows what the plugins say then", () => {
  expect(saysTooLong("fork/exec /bin/sh: argument list too long")).toBe(true);
  expect(saysTooLong('exit status 1: running "node ops/main.ts switch"')).toBe(false);
});
