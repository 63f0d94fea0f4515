import { describe, expect, it } from "vitest";
import { Failure } from "../failure.ts";
import { knownThings, namesOf, plannedCreations, withImported, type FoundOnHost } from "./import-state.ts";

const unknown = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
const urn = (type: string, name: string): string => `urn:pulumi:production::togather::${type}::${name}`;
const stack = urn("pulumi:pulumi:Stack", "togather-production");
const provider = urn("pulumi:providers:docker", "docker");
const router = urn("togather:deployment:Router", "router");
const container = urn("togather:deployment:Router$docker:index/container:Container", "router-container");
const build = urn("command:local:Command", "nginx-image-build");

/** Output of `pulumi preview --json`, after a plugin's message. */
const preview = (inputs: Record<string, unknown> = {}): string =>
  `warning: something\n${JSON.stringify({
    steps: [
      { op: "create", newState: { urn: stack, type: "pulumi:pulumi:Stack" } },
      { op: "create", newState: { urn: provider, type: "pulumi:providers:docker", custom: true, parent: stack } },
      { op: "create", newState: { urn: router, type: "togather:deployment:Router", parent: stack } },
      { op: "create", newState: { urn: build, type: "command:local:Command", custom: true, parent: stack } },
      { op: "same", newState: { urn: urn("docker:index/container:Container", "known"), type: "x" } },
      {
        op: "create",
        newState: {
          urn: container,
          type: "docker:index/container:Container",
          custom: true,
          parent: router,
          provider: `${provider}::${unknown}`,
          dependencies: [build, provider],
          propertyDependencies: { image: [build], name: null },
          inputs: { name: "togather-production-router", image: unknown, ...inputs },
        },
      },
    ],
  })}`;
const empty = JSON.stringify({ version: 3, deployment: { secrets_providers: { type: "passphrase" } } });
const there = (env: string[] = []): FoundOnHost => ({
  containers: new Map([
    ["togather-production-router", { id: "cafe", imageId: "sha256:abc", env, labels: { version: "v3" } }],
  ]),
  networks: new Map(),
  roles: new Set(),
  databases: new Set(),
});
const resourcesOf = (state: string): Record<string, unknown>[] =>
  (JSON.parse(state) as { deployment: { resources: Record<string, unknown>[] } }).deployment.resources;

describe("a state with what runs in it", () => {
  it("has each thing under its id, what it hangs on before it, and no step", () => {
    const planned = plannedCreations(preview());
    expect(namesOf(planned)).toEqual({ containers: ["togather-production-router"], networks: [], inDatabase: false });
    const { state, urns, what } = withImported(empty, planned, there());
    const resources = resourcesOf(state);
    expect(resources.map((one) => one["urn"])).toEqual([stack, router, provider, container]);
    const [, , made, taken] = resources;
    expect(taken).toMatchObject({
      id: "cafe",
      inputs: { name: "togather-production-router", image: "sha256:abc" },
      outputs: { envs: [] },
      provider: `${provider}::${String(made?.["id"])}`,
      // A step that is missing in the state can't be depended on.
      dependencies: [provider],
      propertyDependencies: { image: [], name: [] },
    });
    expect([urns, what]).toEqual([[container], ["the container togather-production-router"]]);
  });

  it("has an environment as a secret", () => {
    const { state } = withImported(empty, plannedCreations(preview({ envs: "[secret]" })), there(["JWT_SECRET=x"]));
    expect(resourcesOf(state).at(-1)?.["inputs"]).toMatchObject({ envs: { plaintext: '["JWT_SECRET=x"]' } });
  });

  it("keeps what it has, and uses its provider", () => {
    const exported = JSON.stringify({
      deployment: {
        resources: [
          { urn: stack, type: "pulumi:pulumi:Stack" },
          { urn: provider, type: "pulumi:providers:docker", custom: true, id: "provider-id" },
        ],
      },
    });
    const resources = resourcesOf(withImported(exported, plannedCreations(preview()), there()).state);
    expect(resources.map((one) => one["urn"])).toEqual([stack, provider, router, container]);
    expect(resources.at(-1)?.["provider"]).toBe(`${provider}::provider-id`);
  });

  it("knows things by the ids that they have, where it is an older copy", () => {
    const old = {
      urn: container,
      type: "docker:index/container:Container",
      custom: true,
      id: "dead",
      inputs: {
        name: "togather-production-router",
        image: "sha256:old",
        envs: { ciphertext: "x" },
        labels: [{ label: "version", value: "v1" }],
      },
      dependencies: [build],
    };
    const exported = JSON.stringify({ deployment: { resources: [{ urn: stack, type: "x" }, old] } });
    expect(namesOf(knownThings(exported)).containers).toEqual(["togather-production-router"]);
    const { state, urns, what } = withImported(exported, [], there(["A=b"]));
    expect(resourcesOf(state)).toMatchObject([
      { urn: stack },
      {
        urn: container,
        id: "cafe",
        inputs: {
          name: "togather-production-router",
          image: "sha256:abc",
          envs: { plaintext: '["A=b"]' },
          labels: [{ label: "version", value: "v3" }],
        },
        dependencies: [build],
      },
    ]);
    expect([urns, what]).toEqual([[container], ["the container togather-production-router"]]);
    expect(withImported(state, [], there()).what).toEqual([]);
  });

  it("is as it was where nothing is there, and refuses what a preview doesn't tell", () => {
    const nothing: FoundOnHost = { ...there(), containers: new Map() };
    expect(withImported(empty, plannedCreations(preview()), nothing).what).toEqual([]);
    expect(() => withImported(empty, plannedCreations(preview({ shmSize: unknown })), there())).toThrow(Failure);
  });
});
