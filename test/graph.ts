import * as pulumi from "@pulumi/pulumi";
import { vi } from "vitest";
import type { HostNow, RouterNow, Serving } from "../ops/host/serving-slot.ts";

/** A resource that the program registered, with its inputs as the engine would see them. */
export interface Registered {
  type: string;
  name: string;
  /** Name of the component that it belongs to; empty for one that the program has made by itself. */
  parent: string;
  inputs: Record<string, unknown>;
  /** The inputs in the engine's own encoding, in which secrets carry a signature. */
  wire: unknown;
  options: {
    protect?: boolean;
    retainOnDelete?: boolean;
    ignoreChanges: readonly string[];
    deleteBeforeReplace?: boolean;
    dependsOn: readonly string[];
  };
}

/** The resources of one run of the program. */
export interface Graph {
  resources: Registered[];
  outputs: Record<string, unknown>;
  /**
   * The only resource with this name.
   * @throws when there is none.
   */
  get: (name: string) => Registered;
  /** The request that a step's command carries. */
  request: (name: string) => Record<string, unknown>;
}

const releases = {
  v1: { version: "v1.0.0", commit: "1111111111111111111111111111111111111111" },
  v2: { version: "v2.0.0", commit: "2222222222222222222222222222222222222222" },
  v3: { version: "v3.0.0", commit: "3333333333333333333333333333333333333333" },
};
export { releases };

/** Secret values that must not appear anywhere in plain text. */
export const canaries = {
  jwtSecret: "canary-jwt-Xq4vT9mZk2RbW7nLd5HsJc8Y",
  adminApiKey: "canary-admin-f3K8wPz6QyVt1NgBh7UeMx2D",
  databasePassword: "canary-database-r5TcG9aJv4Lk",
};

/** Config of a stack in which blue serves v1. */
export const firstDeployment: Record<string, unknown> = {
  environment: "staging",
  name: "unit",
  slots: { blue: releases.v1 },
  ...canaries,
};

/** Results of the steps, as the real program would print them. */
const results: Record<string, unknown> = {
  build: { tag: "t", imageId: "sha256:image", built: true, durationMs: 1 },
  begin: { deploymentId: "20260101_000000_1111111", startedAt: "2026-01-01T00:00:00Z" },
  database: { serverVersion: "17.0", role: "app", migrationRole: "owner", durationMs: 1 },
  snapshot: { file: "/b/s.sql.gz", bytes: 1, sha256: "0", migrationVersion: null, durationMs: 1 },
  verify: { verified: true, reason: null, rows: 1, tables: 1, durationMs: 1 },
  copy: { copied: "https://s3/b/s.sql.gz", reason: null, durationMs: 1 },
  rehearse: { skipped: null, verified: true, rows: 1, tables: 1, files: [], serving: null, durationMs: 1 },
  migrate: { from: null, to: 4, expected: 4, applied: [], durationMs: 1 },
  gate: { attempts: 1, durationMs: 1, checks: {} },
  router: { digest: "0", reloaded: false },
  task: { skipped: null, durationMs: 1 },
  switch: { from: null, to: "blue", switchedAt: "2026-01-01T00:00:00Z", durationMs: 1 },
  record: { deploymentId: "20260101_000000_1111111", file: "/s/deployment-state.json", log: "/l/x.log" },
  standby: { started: [], stopped: null, open: 0, durationMs: 1 },
  prune: { removed: [] },
  develop: { status: 200, durationMs: 1 },
};

interface RegisterRequest {
  getType: () => string;
  getName: () => string;
  getParent: () => string;
  getProtect: () => boolean;
  getRetainondelete: () => boolean;
  getDeletebeforereplace: () => boolean;
  getIgnorechangesList: () => string[];
  getDependenciesList: () => string[];
  getObject: () => { toJavaScript: () => unknown } | undefined;
}
const nameOf = (urn: string): string => urn.split("::").at(-1) ?? urn;
interface Monitor {
  registerResource: (request: RegisterRequest, callback: unknown) => Promise<void>;
}

/**
 * Runs the program with Pulumi's mocks and returns its resources.
 * @param config the stack's config under `togather:`.
 * @param last the slot that serves, by the Docker host's answer.
 * @param router the router's state; default: it agrees with `last`.
 * @param states the containers' states; default: all run, where something serves.
 * @param databaseUrls DATABASE_URL of each slot's server.
 */
export async function runProgram(
  config: Record<string, unknown>,
  last?: Serving,
  router?: Omit<RouterNow, "sentBack"> & Partial<Pick<RouterNow, "sentBack">>,
  states: HostNow["states"] = last === undefined
    ? {}
    : { database: "running", router: "running", blue: "running", green: "running" },
  databaseUrls: HostNow["databaseUrls"] = {},
): Promise<Graph> {
  const asWanted = last && {
    slot: last.slot,
    memory: last.slot,
    file: last.slot,
    mark: `${last.slot} in nginx, ${last.slot} on disk since now`,
  };
  const found = router ?? asWanted;
  const now: HostNow = {
    serving: last,
    router: found && { sentBack: [], ...found },
    held: last?.held ?? {},
    served: last?.served ?? {},
    states,
    ids: {},
    databaseUrls,
  };
  vi.resetModules();
  vi.doMock(import("../ops/host/serving-slot.ts"), async (original) => ({
    ...(await original()),
    lookAtHost: () => Promise.resolve(now),
  }));
  vi.doMock(import("../ops/host/start-stopped.ts"), async (original) => ({
    ...(await original()),
    startStopped: () => Promise.resolve(),
  }));
  vi.doMock(import("../ops/host/superuser-password.ts"), () => ({
    setSuperuserPassword: () => Promise.resolve(),
  }));
  vi.doMock(import("../config/secrets/secret-memory.ts"), async (original) => {
    const { SecretMemory } = await original();
    // A memory that records nothing, since the canaries are used in all environments, and that measures nothing.
    return {
      SecretMemory: class extends SecretMemory {
        override remember = (): void => undefined;
        override bits = (): number => 256;
      },
    };
  });
  const resources: Registered[] = [];
  const inputsOf = new Map<string, Record<string, unknown>>();
  await pulumi.runtime.setMocks(
    {
      newResource(args) {
        inputsOf.set(`${args.type} ${args.name}`, args.inputs as Record<string, unknown>);
        switch (args.type) {
          case "command:local:Command": {
            const { create } = args.inputs as { create: string };
            const step = create.split(" ").at(-1) ?? "";
            const result =
              step === "switch" ? { ...(results[step] as object), to: config["activeSlot"] ?? "blue" } : results[step];
            if (result === undefined) throw new Error(`the program runs an unknown command: ${create}`);
            return { id: args.name, state: { ...(args.inputs as object), stdout: JSON.stringify(result) } };
          }
          case "docker:index/container:Container":
          case "docker:index/network:Network":
          case "docker:index/volume:Volume":
          case "docker:index/remoteImage:RemoteImage":
          case "postgresql:index/role:Role":
          case "postgresql:index/database:Database":
          case "postgresql:index/extension:Extension":
          case "postgresql:index/grant:Grant":
          case "postgresql:index/defaultPrivileges:DefaultPrivileges":
          case "pulumi:providers:docker":
          case "pulumi:providers:postgresql":
            return { id: `${args.name}-id`, state: { ...(args.inputs as object), imageId: `sha256:${args.name}` } };
          default:
            if (args.custom === false || args.type.startsWith("togather:")) return { id: "", state: {} };
            throw new Error(`the program registers a resource that no mock knows: ${args.type}`);
        }
      },
      call({ token }) {
        throw new Error(`the program calls ${token}, which no mock knows`);
      },
    },
    "togather",
    "unit",
    false,
    "organization",
  );
  const monitor = pulumi.runtime.getMonitor() as unknown as Monitor;
  const register = monitor.registerResource.bind(monitor);
  monitor.registerResource = async (request, callback) => {
    await register(request, callback);
    resources.push({
      type: request.getType(),
      name: request.getName(),
      parent: nameOf(request.getParent()),
      wire: request.getObject()?.toJavaScript(),
      inputs: unwrapped(inputsOf.get(`${request.getType()} ${request.getName()}`) ?? {}) as Record<string, unknown>,
      options: {
        protect: request.getProtect(),
        retainOnDelete: request.getRetainondelete(),
        deleteBeforeReplace: request.getDeletebeforereplace(),
        ignoreChanges: request.getIgnorechangesList(),
        dependsOn: request.getDependenciesList().map(nameOf),
      },
    });
  };
  const encoded = Object.entries(config).map(([key, value]) => [
    `togather:${key}`,
    typeof value === "string" ? value : JSON.stringify(value),
  ]);
  pulumi.runtime.setAllConfig(Object.fromEntries(encoded) as Record<string, string>);
  const program = (await import("../index.ts")).default as unknown as Record<string, unknown>;
  const outputs = Object.fromEntries(
    await Promise.all(
      Object.entries(program).map(
        async ([key, value]) => [key, pulumi.Output.isInstance(value) ? await promiseOf(value) : value] as const,
      ),
    ),
  );
  // Waits for work that no output waits for, such as the outputs of components.
  await pulumi.runtime.disconnect();
  const get = (name: string): Registered => {
    const found = resources.find((resource) => resource.name === name);
    if (found === undefined)
      throw new Error(`no resource ${name}; there are ${resources.map((resource) => resource.name).join(", ")}`);
    return found;
  };
  const request = (name: string): Record<string, unknown> => {
    const { environment } = get(name).inputs as { environment: { TOGATHER_REQUEST: string } };
    return JSON.parse(environment.TOGATHER_REQUEST) as Record<string, unknown>;
  };
  return { resources, outputs, get, request };
}

/** A value without the wrappers that mark its secrets. */
function unwrapped(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(unwrapped);
  const marked = (value as Record<string, unknown>)[pulumi.runtime.specialSigKey] === pulumi.runtime.specialSecretSig;
  if (marked) return unwrapped((value as { value: unknown }).value);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, unwrapped(inner)]));
}

/** The value of an output, once everything behind it is there. */
export function promiseOf<T>(output: pulumi.Output<T>): Promise<T> {
  return new Promise((resolve) => {
    output.apply((value) => {
      resolve(value);
    });
  });
}

/** Every resource that must be done before `name` is, whatever the path. */
export function before(graph: Graph, name: string): Set<string> {
  const seen = new Set<string>();
  const visit = (at: string): void => {
    for (const next of graph.resources.find((resource) => resource.name === at)?.options.dependsOn ?? []) {
      if (seen.has(next)) continue;
      seen.add(next);
      visit(next);
    }
  };
  visit(name);
  return seen;
}
