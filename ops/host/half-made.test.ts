import { describe, expect, it } from "vitest";
import { isHalfMade, mayBeHalfMade } from "./half-made.ts";
import { readInterruptedState, resourceName } from "./pending-operations.ts";

const urn = (type: string, name: string): string => `urn:pulumi:production::togather::${type}::${name}`;
const container = "docker:index/container:Container";

const exported = JSON.stringify({
  version: 3,
  deployment: {
    resources: [
      {
        urn: urn(container, "blue-slot-container"),
        type: container,
        id: "known",
        inputs: { name: "togather-production-blue" },
      },
      { urn: urn("pulumi:pulumi:Stack", "s"), type: "pulumi:pulumi:Stack" },
    ],
    pending_operations: [
      {
        type: "creating",
        resource: {
          urn: urn(container, "green-slot-container"),
          type: container,
          inputs: { name: "togather-production-green" },
        },
      },
      // Interrupted twice.
      {
        type: "creating",
        resource: {
          urn: urn(container, "green-slot-container"),
          type: container,
          inputs: { name: "togather-production-green" },
        },
      },
      {
        type: "creating",
        resource: {
          urn: urn("docker:index/network:Network", "network-bridge"),
          type: "docker:index/network:Network",
          inputs: { name: "togather-production" },
        },
      },
      {
        type: "creating",
        resource: {
          urn: urn("docker:index/volume:Volume", "router-files"),
          type: "docker:index/volume:Volume",
          inputs: { name: "togather-production-router-files" },
        },
      },
      {
        type: "deleting",
        resource: {
          urn: urn(container, "blue-slot-container"),
          type: container,
          inputs: { name: "togather-production-blue" },
        },
      },
      {
        type: "creating",
        resource: {
          urn: urn("command:local:Command", "switch-traffic"),
          type: "command:local:Command",
          inputs: { environment: { "4dabf18193072939515e22adb298388d": "x" } },
        },
      },
    ],
  },
});

describe("what a killed run has left", () => {
  const state = readInterruptedState(exported);
  it("is read from the stack's export", () => {
    expect(state.ids).toEqual(new Set(["known"]));
    expect(state.pending.map(({ operation, urn }) => `${operation} ${resourceName(urn)}`)).toContain(
      "deleting blue-slot-container",
    );
    expect(readInterruptedState('{"version":3,"deployment":{"resources":null}}')).toEqual({
      pending: [],
      ids: new Set(),
      containers: [],
      dockerHost: undefined,
      unread: [],
    });
    const read = (inputs: Record<string, unknown>): readonly string[] =>
      readInterruptedState(JSON.stringify({ deployment: { resources: [{ urn: "u", type: container, inputs }] } }))
        .unread;
    // The state after a `pulumi refresh` of a container that does not run. A slot's container may be stopped.
    expect(read({ name: "togather-x-router", mustRun: false, ports: [] })).toEqual(["togather-x-router"]);
    expect(read({ name: "togather-x-router", mustRun: true })).toEqual([]);
    expect(read({ name: "togather-x-blue", mustRun: false, ports: [{ internal: 8080 }] })).toEqual([]);
    expect(readInterruptedState('{"version":3}').pending).toEqual([]);
    expect(() => readInterruptedState("error: no stack")).toThrow();
  });
  it("may be a container or a network whose create was interrupted, and nothing else", () => {
    expect(mayBeHalfMade(state)).toEqual([
      { kind: "container", name: "togather-production-green" },
      { kind: "network", name: "togather-production" },
    ]);
  });
  it("is removed only when it is this deployment's, unknown to the state, and does not serve", () => {
    const found = {
      kind: "container",
      name: "togather-production-green",
      id: "new",
      deployment: "production",
      part: "green",
    } as const;
    expect(isHalfMade(found, "production", state.ids, "blue")).toBe(true);
    expect(isHalfMade(found, "production", state.ids, undefined)).toBe(true);
    expect(isHalfMade(found, "production", state.ids, "green")).toBe(false);
    expect(isHalfMade({ ...found, id: "known" }, "production", state.ids, "blue")).toBe(false);
    expect(isHalfMade({ ...found, deployment: "staging" }, "production", state.ids, "blue")).toBe(false);
    expect(isHalfMade({ ...found, deployment: "<no" }, "production", state.ids, "blue")).toBe(false);
  });
});
