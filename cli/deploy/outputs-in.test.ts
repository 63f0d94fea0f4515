import type { EngineEvent } from "@pulumi/pulumi/automation/index.js";
import { describe, expect, it } from "vitest";
import { outputsIn } from "./outputs-in.ts";

const secret = { "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", ciphertext: "[secret]" };
const serving = { slot: "green", release: { version: "v1.1.0", commit: "2fdaedb1137c037b3125d1899becd204ba1a1136" } };

/** An event in the form that Pulumi 3.259 sends. */
const ended = (outputs: unknown, { type = "pulumi:pulumi:Stack", planning = false } = {}) => ({
  resOutputsEvent: {
    planning,
    metadata: { op: "same", urn: `urn:pulumi:s::togather::${type}::togather-s`, type, new: { type, outputs } },
  } as unknown as NonNullable<EngineEvent["resOutputsEvent"]>,
});

describe("the outputs in a run's events", () => {
  it("are the stack's, without secrets", () => {
    const told = { url: "http://localhost", serving, deploymentId: "d1", databaseUrl: secret };
    expect(outputsIn(ended(told))).toEqual({ url: "http://localhost", serving, deploymentId: "d1" });
  });

  it("are not those of another resource, nor of a plan, nor those that a stack does not have yet", () => {
    expect(outputsIn(ended({ url: "u" }, { type: "docker:index/container:Container" }))).toBeUndefined();
    expect(outputsIn(ended({ url: "u" }, { planning: true }))).toBeUndefined();
    expect(outputsIn(ended({}))).toBeUndefined();
    expect(outputsIn(ended(undefined))).toBeUndefined();
    expect(outputsIn({})).toBeUndefined();
  });
});
