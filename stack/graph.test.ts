import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import * as pulumi from "@pulumi/pulumi";
import { describe, expect, it } from "vitest";
import { environmentRules, type EnvironmentName } from "../config/schema/environments.ts";
import { upFiles } from "../ops/contract/migrations.ts";
import type { Serving } from "../ops/host/serving-slot.ts";
import { certificatePair } from "../test/certificate-pair.ts";
import { before, canaries, firstDeployment, releases, runProgram, type Graph } from "../test/graph.ts";

const blueServes: Serving = { slot: "blue", release: releases.v1 };
const released = { ...firstDeployment, activeSlot: "green", slots: { blue: releases.v1, green: releases.v2 } };

/** Names of the resources whose inputs differ between two graphs, or that only one of them has. */
function changed(from: Graph, to: Graph): string[] {
  const names = new Set([...from.resources, ...to.resources].map(({ name }) => name));
  const inputs = (graph: Graph, name: string): string =>
    JSON.stringify(graph.resources.find((resource) => resource.name === name)?.inputs);
  return [...names].filter((name) => inputs(from, name) !== inputs(to, name)).sort();
}

/** Envs of a slot's container that a graph declares. */
const databaseUrlOf = (graph: Graph, slot: string): string =>
  (graph.get(`${slot}-slot-container`).inputs["envs"] as string[])
    .find((env) => env.startsWith("DATABASE_URL="))
    ?.slice("DATABASE_URL=".length) ?? "";

describe("a slot without its container", () => {
  const there = { database: "running", router: "running", blue: "running" } as const;
  const foundOf = async (
    config: Record<string, unknown>,
    states: Parameters<typeof runProgram>[3],
  ): Promise<unknown[]> => {
    const graph = await runProgram(config, blueServes, undefined, states);
    return ["blue", "green"].map(
      (slot) =>
        (graph.get(`${slot}-image-build`).inputs["environment"] as Record<string, string>)["TOGATHER_FOUND"] !==
        undefined,
    );
  };

  it("has its image looked at again, which may be gone as well", async () => {
    expect(await foundOf({ ...released, standby: "removed" }, there)).toEqual([false, true]);
    expect(await foundOf(released, { ...there, green: "exited" })).toEqual([false, false]);
  });

  it("that is to have none is left alone", async () => {
    expect(await foundOf({ ...released, standby: "removed", activeSlot: "blue" }, there)).toEqual([false, false]);
  });
});

describe("a changed database password", () => {
  const rotated = { ...released, activeSlot: "blue", databasePassword: "canary-another-Vb3xN7qLw2Zk9TfR" };

  it("changes nothing while it is the one that the servers have", async () => {
    const before = await runProgram(released, blueServes);
    const urls = { blue: databaseUrlOf(before, "blue"), green: databaseUrlOf(before, "green") };
    const after = await runProgram(released, blueServes, undefined, undefined, urls);
    expect(changed(before, after)).toEqual([]);
    expect(after.get("database-app").options.ignoreChanges).toEqual([]);
  });

  it("leaves the role of the slot that serves alone, and gives all else a second one with the same rights", async () => {
    const before = await runProgram(released, blueServes);
    const urls = { blue: databaseUrlOf(before, "blue"), green: databaseUrlOf(before, "green") };
    const during = await runProgram(rotated, blueServes, undefined, undefined, urls);
    expect(during.get("database-app").options.ignoreChanges).toEqual(["password"]);
    expect(during.get("database-app-2").inputs).toMatchObject({
      name: "togather_app_2",
      login: true,
      roles: ["togather_app"],
    });
    expect(during.get("blue-slot-container").options.ignoreChanges).toContain("envs");
    expect(databaseUrlOf(during, "green")).toMatch(/^postgresql:\/\/togather_app_2:/);
    // Once green serves, the old password ends.
    const greenServes: Serving = { slot: "green", release: releases.v2 };
    const after = await runProgram({ ...rotated, activeSlot: "green" }, greenServes, undefined, undefined, {
      blue: urls.blue,
      green: databaseUrlOf(during, "green"),
    });
    expect(after.get("database-app").options.ignoreChanges).toEqual([]);
    expect(after.get("database-app").inputs["password"]).not.toEqual(before.get("database-app").inputs["password"]);
    expect(databaseUrlOf(after, "blue")).toBe(databaseUrlOf(after, "green"));
  });
});

it("keeps idle connections to slots for as long as the settings say", async () => {
  const graph = await runProgram({ ...firstDeployment, router: { idleTimeout: "1s" } });
  const { "nginx.conf": text = "" } = graph.request("router-configuration")["files"] as Record<string, string>;
  expect(text.match(/^ +keepalive_timeout 1s;$/gm)).toHaveLength(2);
});

describe("proxies before the router", () => {
  const proxies = { trustedProxies: ["192.0.2.10"] };
  const asked = async (config: Record<string, unknown>): Promise<Record<string, unknown>> => {
    const graph = await runProgram({ ...firstDeployment, publicUrl: "https://events.example.org:444", ...config });
    const files = graph.request("router-configuration")["files"] as Record<string, string>;
    return {
      url: String(graph.request("switch-traffic")["routerUrl"]).replace(/^http:\/\/[\d.]+/, ""),
      redirect: /return 308 (\S+);/.exec(files["nginx.conf"] ?? "")?.[1],
    };
  };

  it("change where the deployment asks only if the public port asks for more than a request", async () => {
    expect(await asked({})).toEqual({ url: ":8080", redirect: undefined });
    expect(await asked({ router: proxies })).toEqual({ url: ":9080", redirect: undefined });
    const { certificate, key } = await certificatePair();
    process.env["TLS_CERTIFICATE"] = certificate;
    process.env["TLS_KEY"] = key;
    try {
      const production = { environment: "production" };
      expect(await asked(production)).toEqual({ url: ":8080", redirect: "https://$host$request_uri" });
      expect(await asked({ ...production, router: proxies })).toEqual({
        url: ":8080",
        redirect: "https://$host:444$request_uri",
      });
      expect(await asked({ ...production, router: { ...proxies, proxyProtocol: true } })).toMatchObject({
        url: ":9080",
      });
    } finally {
      delete process.env["TLS_CERTIFICATE"];
      delete process.env["TLS_KEY"];
    }
  });

  it("may have the only certificate", async () => {
    expect(await asked({ environment: "production", router: proxies })).toEqual({
      url: ":9080",
      redirect: "https://$host:444$request_uri",
    });
  });
});

describe("order", () => {
  it("takes a release through image, snapshot, migration, container, gate, switch, record", async () => {
    const graph = await runProgram(firstDeployment);
    const chain = [
      "ops-image-build",
      "begin-entry",
      "blue-image-build",
      "blue-snapshot-dump",
      "blue-rehearsal-run",
      "blue-migration-up",
      "blue-slot-container",
      "blue-slot-gate",
      "switch-traffic",
      "record-entry",
    ];
    for (const [index, name] of chain.entries()) {
      const earlier = before(graph, name);
      for (const other of chain.slice(0, index)) expect(earlier, `${name} waits for ${other}`).toContain(other);
      for (const other of chain.slice(index + 1))
        expect(earlier, `${name} does not wait for ${other}`).not.toContain(other);
    }
  });

  it("runs tasks one after the other between gate and switch, once for each deployment; the others are the switch's", async () => {
    const tasks = [
      { name: "reindex", command: ["/server", "reindex"], when: "before-switch", timeout: "20m" },
      { name: "warm", command: ["/server", "warm"], when: "after-switch" },
      { name: "check", command: ["/server", "check"], when: "before-switch" },
      { name: "tell", command: ["/server", "tell"], when: "after-switch", onFailure: "warn" },
    ];
    const graph = await runProgram({ ...released, source: { tasks } }, blueServes);
    expect(graph.request("task-reindex-run")).toMatchObject({
      slot: "green",
      release: releases.v2,
      deploymentId: "20260101_000000_1111111",
      task: { name: "reindex", command: ["/server", "reindex"], timeoutMs: 1_200_000 },
    });
    expect(before(graph, "task-reindex-run")).toContain("green-slot-gate");
    expect(before(graph, "task-check-run")).toContain("task-reindex-run");
    expect(before(graph, "switch-traffic")).toContain("task-check-run");
    expect(graph.request("switch-traffic")["tasks"]).toEqual([
      { name: "warm", command: ["/server", "warm"], timeoutMs: 300_000, onFailure: "send-back" },
      { name: "tell", command: ["/server", "tell"], timeoutMs: 300_000, onFailure: "warn" },
    ]);
    // The server's secrets reach the tasks on the host, from its own container.
    expect(JSON.stringify(graph.get("task-reindex-run").wire)).not.toContain("canary");
    const stopped = await runProgram({ ...released, standby: "stopped", source: { tasks } }, blueServes);
    expect(before(stopped, "task-reindex-run")).toContain("waking-gate");
    expect(graph.request("green-rehearsal-run")).not.toHaveProperty("tasks");
    const none = await runProgram(released, blueServes);
    expect(changed(none, graph)).toEqual([
      "switch-traffic",
      "task-check",
      "task-check-run",
      "task-reindex",
      "task-reindex-run",
    ]);
    expect(none.request("switch-traffic")).not.toHaveProperty("tasks");
  }, 20_000);

  it("rehearses the tasks that say so, in what will be the server's image and environment", async () => {
    const tasks = [
      { name: "warm", command: ["/server", "warm"], when: "after-switch", rehearse: true },
      { name: "reindex", command: ["/server", "reindex"], when: "before-switch", rehearse: true },
      { name: "mail", command: ["/server", "mail"], when: "after-switch" },
    ];
    const graph = await runProgram(
      { ...released, source: { tasks, environment: { A: "{slot}" }, container: { tmpSize: "8m", shmSize: "1g" } } },
      blueServes,
    );
    const list = [
      { name: "reindex", command: ["/server", "reindex"], timeoutMs: 300_000 },
      { name: "warm", command: ["/server", "warm"], timeoutMs: 300_000 },
    ];
    const request = graph.request("green-rehearsal-run")["tasks"];
    expect(request).toEqual({
      list,
      image: "sha256:image",
      networks: [expect.any(String)],
      tmpfs: { "/tmp": "rw,noexec,nosuid,size=8m" },
      shmSize: 1 << 30,
      extraHosts: [],
    });
    const { SERVER_ENVIRONMENT, TOGATHER_REQUEST } = graph.get("green-rehearsal-run").inputs["environment"] as Record<
      string,
      string
    >;
    // All variables of the server.
    const envs = graph.get("green-slot-container").inputs["envs"] as string[];
    expect(
      Object.entries(JSON.parse(SERVER_ENVIRONMENT ?? "") as Record<string, string>)
        .map(([key, value]) => `${key}=${value}`)
        .sort(),
    ).toEqual([...envs].sort());
    expect(TOGATHER_REQUEST).not.toContain("canary");
    expect(
      (graph.get("green-rehearsal-run").wire as { environment: Record<string, unknown> }).environment[
        "SERVER_ENVIRONMENT"
      ],
    ).toMatchObject({ "4dabf18193072939515e22adb298388d": expect.any(String) as unknown });
  });

  it("verifies a snapshot before the migrations, after the deployment, or never, as it is told", async () => {
    const verify = async (value: string): Promise<Graph> =>
      runProgram({
        ...firstDeployment,
        deployment: { database: { snapshot_verify: value, migration_rehearsal: "never" } },
      });
    const behind = await verify("background");
    expect(before(behind, "blue-verification-restore")).toContain("record-entry");
    expect(behind.request("blue-verification-restore")).toMatchObject({
      file: "s.sql.gz",
      sha256: "0",
      required: false,
      foreign: false,
    });
    const ahead = await verify("required");
    expect(before(ahead, "blue-migration-up")).toContain("blue-verification-restore");
    expect(ahead.request("blue-verification-restore")).toMatchObject({ required: true });
    expect((await verify("auto")).request("blue-verification-restore")).toMatchObject({ required: false });
    expect((await verify("never")).resources.map(({ name }) => name)).not.toContain("blue-verification-restore");
  });

  it("rehearses migrations on the snapshot before they run, which proves it too, unless told otherwise", async () => {
    const rehearse = async (database: Record<string, string>): Promise<Graph> =>
      runProgram({ ...firstDeployment, deployment: { database } });
    const staging = await rehearse({});
    expect(staging.request("blue-rehearsal-run")).toMatchObject({
      file: "s.sql.gz",
      sha256: "0",
      verify: true,
      required: false,
      serving: {
        healthPath: "/health",
        port: 8080,
        checks: [{ path: "/health", status: 200 }],
        limitSeconds: 70,
        failure: "warn",
      },
    });
    expect(staging.request("blue-rehearsal-run")["source"]).toEqual(staging.request("blue-migration-up")["source"]);
    expect(before(staging, "blue-migration-up")).toContain("blue-rehearsal-run");
    expect(before(staging, "blue-rehearsal-run")).toContain("blue-snapshot-dump");
    expect(staging.resources.map(({ name }) => name)).not.toContain("blue-verification-restore");
    expect(
      (await rehearse({ snapshot_verify: "background", serving_release_check: "off" })).request("blue-rehearsal-run"),
    ).toMatchObject({ verify: false, serving: null });
    expect((await rehearse({ migration_rehearsal: "required" })).request("blue-rehearsal-run")).toMatchObject({
      required: true,
    });
  });

  it("copies a snapshot once the deployment is recorded, and gives each secret only to the step that needs it", async () => {
    const keys = {
      snapshotIdentity: `AGE-SECRET-KEY-1${"Q".repeat(58)}`,
      snapshotCopyKeyId: "canary-copy-key",
      snapshotCopySecret: "canary-copy-secret",
    };
    const storage = { endpoint: "https://s3.example.org", bucket: "backups" };
    const database = {
      snapshot_format: "sql.zst",
      snapshot_recipients: [`age1${"q".repeat(58)}`],
      snapshot_copy: storage,
    };
    const graph = await runProgram({ ...firstDeployment, ...keys, deployment: { database } });
    expect(before(graph, "blue-copy-upload")).toContain("record-entry");
    expect(before(graph, "blue-migration-up")).not.toContain("blue-copy-upload");
    expect(graph.request("blue-copy-upload")).toMatchObject({
      file: "s.sql.gz",
      sha256: "0",
      ...storage,
      prefix: "",
      region: "us-east-1",
      failure: "error",
    });
    expect(graph.request("blue-snapshot-dump")).toMatchObject({
      format: "sql.zst",
      recipients: database.snapshot_recipients,
    });
    const given = (name: string): string[] =>
      Object.keys(graph.get(name).inputs["environment"] as Record<string, unknown>).filter((key) =>
        key.startsWith("SNAPSHOT_"),
      );
    expect({
      dump: given("blue-snapshot-dump"),
      rehearsal: given("blue-rehearsal-run"),
      copy: given("blue-copy-upload").sort(),
      migration: given("blue-migration-up"),
    }).toEqual({
      dump: [],
      rehearsal: ["SNAPSHOT_IDENTITY"],
      copy: ["SNAPSHOT_COPY_KEY_ID", "SNAPSHOT_COPY_SECRET"],
      migration: [],
    });
    // Without copies, neither a step nor an output has the credentials.
    const none = await runProgram({ ...firstDeployment, ...keys });
    expect(none.resources.map(({ name }) => name)).not.toContain("blue-copy-upload");
    expect(Object.keys(none.outputs)).not.toContain("snapshotCopySecret");
    expect(JSON.stringify(none.resources)).not.toContain("canary-copy");
  });

  it("opens the database to a snapshot only when roles, extensions and rights are there", async () => {
    const graph = await runProgram(firstDeployment);
    const earlier = before(graph, "blue-snapshot-dump");
    for (const part of [
      "owner",
      "app",
      "database",
      "extension-postgis",
      "extension-vector",
      "extension-pg_trgm",
      "owner-postgis",
      "app-tables",
      "app-sequences",
    ]) {
      expect(earlier).toContain(`database-${part}`);
    }
    // PostGIS's table belongs to the superuser; a migration may add rows to it.
    expect(before(graph, "database-owner-postgis")).toContain("database-extension-postgis");
    expect(graph.get("database-owner-postgis").inputs).toMatchObject({
      role: "togather_owner",
      schema: "public",
      objectType: "table",
      objects: ["spatial_ref_sys"],
      privileges: ["SELECT", "INSERT", "UPDATE", "DELETE"],
    });
    const without = await runProgram({ ...firstDeployment, database: { extensions: ["pg_trgm"] } });
    expect(without.resources.map(({ name }) => name)).not.toContain("database-owner-postgis");
  });

  it("keeps the slots apart: no part of one waits for the other", async () => {
    const graph = await runProgram(released, blueServes);
    for (const { name } of graph.resources.filter((resource) => resource.name.startsWith("green-"))) {
      expect(
        [...before(graph, name)].filter((other) => other.startsWith("blue-")),
        name,
      ).toEqual([]);
    }
    expect([...before(graph, "switch-traffic")].filter((other) => other.startsWith("blue-"))).toEqual([]);
  });
});

describe("what is kept", () => {
  it("are the images of both slots; others go only when the deployment is over", async () => {
    const graph = await runProgram(
      { ...released, deployment: { images: { retention: 5 }, logging: { retention: 9 } } },
      blueServes,
    );
    expect(before(graph, "image-retention-prune")).toContain("record-entry");
    const tags = ["ops-image-build", "nginx-image-build", "blue-image-build", "green-image-build"].map(
      (name) => graph.request(name)["tag"],
    );
    expect(graph.request("image-retention-prune")["keep"]).toEqual(expect.arrayContaining(tags));
    expect(graph.request("image-retention-prune")).toMatchObject({ retention: 5 });
    expect(graph.request("record-entry")).toMatchObject({ logRetention: 9 });
  });
});

describe("a flip", () => {
  it("releases: only the idle slot, the switch and the records change", async () => {
    const changes = changed(await runProgram(firstDeployment), await runProgram(released, blueServes));
    expect(changes.filter((name) => !name.startsWith("green-"))).toEqual([
      "begin-entry",
      "image-retention-prune",
      "record-entry",
      "switch-traffic",
    ]);
  });

  it("rolls back: switch and records, no image, database or container", async () => {
    const changes = changed(
      await runProgram(released, { slot: "green", release: releases.v2 }),
      await runProgram({ ...released, activeSlot: "blue" }, { slot: "green", release: releases.v2 }),
    );
    expect(changes).toEqual(["begin-entry", "record-entry", "switch-traffic"]);
  });

  it("stops the slot that has served on request, when the record is made, and starts and gates the one that is to serve before the switch", async () => {
    const greenServes: Serving = { slot: "green", release: releases.v2 };
    const stopped = { ...released, standby: "stopped", drainTimeout: "90s" };
    const graph = await runProgram(stopped, greenServes);
    expect(graph.request("standby-slot")).toMatchObject({
      mode: "stopped",
      idle: { slot: "blue", release: releases.v1, containerId: "blue-slot-container-id" },
      drainMs: 90_000,
    });
    expect(before(graph, "standby-slot")).toContain("record-entry");
    expect(graph.request("waking-gate")).toEqual({ ...graph.request("green-slot-gate"), whenStopped: "start" });
    expect(graph.request("blue-slot-gate")).toMatchObject({ whenStopped: "pass" });
    expect(before(graph, "switch-traffic")).toContain("waking-gate");
    const changes = changed(graph, await runProgram({ ...stopped, activeSlot: "blue" }, greenServes));
    expect(changes).toEqual(["begin-entry", "record-entry", "standby-slot", "switch-traffic", "waking-gate"]);
  });

  it("keeps the slot that has served by default: nothing is stopped, and no gate is passed twice", async () => {
    const graph = await runProgram(released, blueServes);
    expect(graph.request("standby-slot")).toMatchObject({ mode: "running", idle: null });
    expect(graph.resources.map(({ name }) => name)).not.toContain("waking-gate");
  });

  it("removes the slot that has served on request, and keeps what it takes to make it again", async () => {
    const removed = { ...released, standby: "removed" };
    const names = (await runProgram(removed, blueServes)).resources.map(({ name }) => name);
    expect(names.filter((name) => name.startsWith("blue-"))).toEqual(
      expect.arrayContaining(["blue-image-build", "blue-snapshot-dump", "blue-migration-up"]),
    );
    expect(names.filter((name) => name.startsWith("blue-slot"))).toEqual([]);
    expect(names).toContain("green-slot-container");
  });

  it("moves a router back that is not on the active slot, though its request is the same, and changes nothing once it is", async () => {
    const variable = "TOGATHER_FOUND";
    const greenServes: Serving = { slot: "green", release: releases.v2 };
    const found = (graph: Graph, name: string): unknown =>
      (graph.get(name).inputs["environment"] as Record<string, unknown>)[variable];
    const well = await runProgram(released, greenServes);
    expect(found(well, "switch-traffic")).toBeUndefined();
    // Values found by an earlier run stay in the state.
    expect(well.get("switch-traffic").options.ignoreChanges).toEqual([`environment.${variable}`]);
    const routers = [
      { slot: "blue", memory: "blue", file: "blue", mark: "both" },
      { slot: "green", memory: "green", file: "blue", mark: "the file alone" },
      { slot: undefined, memory: undefined, file: undefined, mark: "neither" },
    ] as const;
    for (const router of routers) {
      const off = await runProgram(released, router.slot === "blue" ? blueServes : greenServes, router);
      expect(found(off, "switch-traffic")).toBe(router.mark);
      expect(off.get("switch-traffic").options.ignoreChanges).toEqual([]);
      expect(off.request("switch-traffic")).toEqual(well.request("switch-traffic"));
      expect(changed(well, off)).toEqual(["switch-traffic"]);
    }
    // A slot must be drained before it is removed.
    const removed = await runProgram({ ...released, standby: "removed" }, blueServes);
    expect(found(removed, "standby-slot")).toBe("blue in nginx, blue on disk since now");
  });

  it("gates and confirms again what was stopped and is to run, and nothing else", async () => {
    const found = (graph: Graph, name: string): boolean =>
      "TOGATHER_FOUND" in (graph.get(name).inputs["environment"] as Record<string, unknown>);
    const steps = ["blue-slot-gate", "green-slot-gate", "switch-traffic"];
    const again = async (
      config: Record<string, unknown>,
      states: Partial<Record<"database" | "blue" | "green" | "router", string>>,
    ): Promise<string[]> => {
      const graph = await runProgram(
        { ...released, ...config },
        { slot: "green", release: releases.v2 },
        undefined,
        states,
      );
      return steps.filter((name) => found(graph, name));
    };
    const running = { database: "running", blue: "running", green: "running", router: "running" };
    expect(await again({}, running)).toEqual([]);
    expect(await again({}, { ...running, green: "restarting" })).toEqual([]);
    expect(await again({}, { ...running, green: "exited" })).toEqual(["green-slot-gate", "switch-traffic"]);
    expect(await again({}, { ...running, blue: "exited" })).toEqual(["blue-slot-gate"]);
    expect(await again({ standby: "stopped" }, { ...running, blue: "exited" })).toEqual([]);
    expect(await again({}, { ...running, router: "paused" })).toEqual(["switch-traffic"]);
    expect(await again({}, { ...running, database: "exited" })).toEqual(["blue-slot-gate", "green-slot-gate"]);
  });

  it("says what serves from the switch's result, not from the config", async () => {
    const { outputs } = await runProgram(released, blueServes);
    expect(outputs["serving"]).toEqual({ slot: "green", release: releases.v2 });
    expect(outputs["activeSlot"]).toBe("green");
  });
});

describe("the slot that serves", () => {
  it("does not get traffic again after it was sent back, until somebody asks for it on purpose", async () => {
    const sentBack = [{ ...releases.v2, at: "2026-01-28T14:30:22.000Z", why: "/page answers 404" }];
    const router = { slot: "blue", memory: "blue", file: "blue", mark: "", sentBack } as const;
    await expect(runProgram(released, blueServes, router)).rejects.toThrow(
      /togather:slots\.green: v2\.0\.0 \(\w{12}\) was released on this host before, and all traffic was sent back from it at 2026-01-28T14:30:22\.000Z: \/page answers 404.*; blue serves\n.*togather release \w{12} --again, or pulumi config set --stack unit togather:releaseAgain/,
    );
    await runProgram({ ...released, releaseAgain: releases.v2.commit.slice(0, 7) }, blueServes, router);
    await expect(runProgram({ ...released, releaseAgain: "fedcba9" }, blueServes, router)).rejects.toThrow(/sent back/);
    // It may wait in its slot, be rolled back to where it has served, or serve already.
    await runProgram({ ...released, activeSlot: "blue" }, blueServes, router);
    await runProgram(released, { ...blueServes, served: { green: releases.v2 } }, router);
    await runProgram(released, { slot: "green", release: releases.v2 }, { ...router, slot: "green" });
    await runProgram(released, blueServes, {
      ...router,
      sentBack: [{ ...releases.v2, commit: "e".repeat(40), at: "", why: "" }],
    });
  }, 30_000);

  it("can't be given another release in place", async () => {
    await expect(runProgram({ ...firstDeployment, slots: { blue: releases.v2 } }, blueServes)).rejects.toThrow(
      /togather:slots\.blue: blue serves v1\.0\.0 \(111111111111\) and can't be changed to v2\.0\.0[\s\S]*togather:slots\.green/,
    );
  });

  it("is the same by another spelling of its commit, and so is the idle one", async () => {
    const short = ({ version, commit }: typeof releases.v1): typeof releases.v1 => ({
      version,
      commit: commit.slice(0, 9),
    });
    const written = { blue: releases.v1, green: releases.v2 };
    const cut = { blue: short(releases.v1), green: short(releases.v2) };
    for (const [held, slots] of [
      [written, cut],
      [cut, written],
    ] as const) {
      const serving: Serving = { slot: "blue", release: held.blue, held };
      const before = await runProgram({ ...released, slots: held }, serving);
      expect(changed(before, await runProgram({ ...released, slots }, serving))).toEqual([]);
    }
    // The idle slot has no container: the router knows which releases have served.
    const serving: Serving = { slot: "blue", release: cut.blue, held: { blue: cut.blue }, served: cut };
    const removed = { ...released, activeSlot: "blue", standby: "removed" };
    const before = await runProgram({ ...removed, slots: cut }, serving);
    expect(changed(before, await runProgram({ ...removed, slots: written }, serving))).toEqual([]);
  }, 30_000);

  it("can't be emptied, nor changed by the same run that flips away from it", async () => {
    await expect(
      runProgram({ ...firstDeployment, activeSlot: "green", slots: { green: releases.v2 } }, blueServes),
    ).rejects.toThrow(/changed to nothing/);
    await expect(
      runProgram(
        { ...firstDeployment, activeSlot: "green", slots: { blue: releases.v3, green: releases.v2 } },
        blueServes,
      ),
    ).rejects.toThrow(/can't be changed to v3\.0\.0/);
  });

  it("can be forced", async () => {
    const graph = await runProgram({ ...firstDeployment, force: true, slots: { blue: releases.v2 } }, blueServes);
    expect(graph.request("blue-slot-gate")["release"]).toEqual(releases.v2);
    // Ignored changes, as in a slot that stays as it is, would leave the old release running.
    expect(graph.get("blue-slot-container").options.ignoreChanges).toEqual([]);
  });

  it("can't be moved to another port, on which the router would look for it", async () => {
    const moved = { ...released, activeSlot: "blue", source: { port: 9000 } };
    await expect(runProgram(moved, { ...blueServes, port: 8080 })).rejects.toThrow(
      /togather:source\.port: blue serves on port 8080.* can't be changed to 9000 in place\n.*keep 8080/,
    );
    const forced = await runProgram({ ...moved, force: true }, { ...blueServes, port: 8080 });
    expect(forced.get("blue-slot-container").options.ignoreChanges).toEqual([]);
  });

  it("keeps its container when a secret or the log level changes; the idle one takes the change", async () => {
    const graph = await runProgram(released, blueServes);
    expect(graph.get("blue-slot-container").options.ignoreChanges).toEqual(
      expect.arrayContaining(["image", "envs", "ports"]),
    );
    expect(graph.get("green-slot-container").options.ignoreChanges).toEqual([]);
  });
});

describe("containers", () => {
  it("of the slots tell which release they run, for the next deployment to read", async () => {
    const graph = await runProgram(firstDeployment);
    expect(graph.get("blue-slot-container").inputs["labels"]).toEqual(
      expect.arrayContaining([
        { label: "org.togather.part", value: "blue" },
        { label: "org.togather.version", value: "v1.0.0" },
        { label: "org.togather.commit", value: releases.v1.commit },
      ]),
    );
  });

  it("hardens the slots, binds them to the loopback and gives them time to drain", async () => {
    const graph = await runProgram(firstDeployment);
    expect(graph.get("blue-slot-container").inputs).toMatchObject({
      name: "togather-unit-blue",
      readOnly: true,
      capabilities: { drops: ["ALL"] },
      securityOpts: ["no-new-privileges:true"],
      ports: [{ internal: 8080, external: 8080, ip: "127.0.0.1" }],
      stopSignal: "SIGTERM",
      destroyGraceSeconds: 40,
    });
    expect(graph.get("blue-slot-container").inputs).not.toHaveProperty("privileged");
    expect(graph.get("database-container").inputs).toMatchObject({
      ports: [{ internal: 5432, external: 15432, ip: "127.0.0.1" }],
    });
  });

  it("publishes nothing but the router beyond the loopback", async () => {
    const graph = await runProgram(released, blueServes);
    const open = graph.resources.filter(({ inputs }) =>
      ((inputs["ports"] ?? []) as { ip?: string }[]).some(({ ip }) => ip !== "127.0.0.1"),
    );
    expect(open.map(({ name }) => name)).toEqual(["router-container"]);
  });

  it("protects production's data, and only production's", async () => {
    const { mkdtempSync, writeFileSync } = await import("node:fs");
    const directory = mkdtempSync("/tmp/togather-unit-");
    const { certificate, key } = await certificatePair();
    writeFileSync(`${directory}/c.pem`, certificate);
    writeFileSync(`${directory}/k.pem`, key);
    const tls = { certificateFile: `${directory}/c.pem`, keyFile: `${directory}/k.pem` };
    const production = await runProgram({ ...firstDeployment, environment: "production", tls });
    expect(production.get("database-data").options).toMatchObject({ protect: true, retainOnDelete: true });
    const staging = await runProgram(firstDeployment);
    expect(staging.get("database-data").options).toMatchObject({ protect: false, retainOnDelete: false });
  });

  it("takes as many connections as it is told, and is left as it is otherwise", async () => {
    expect((await runProgram(firstDeployment)).get("database-container").inputs).not.toHaveProperty("command");
    expect(
      (await runProgram({ ...firstDeployment, database: { maxConnections: 200 } })).get("database-container").inputs[
        "command"
      ],
    ).toEqual(["postgres", "-c", "max_connections=200"]);
  });

  it("makes roles without superuser rights", async () => {
    const graph = await runProgram(firstDeployment);
    for (const role of ["database-owner", "database-app"]) {
      expect(graph.get(role).inputs).toMatchObject({ login: true });
      expect(graph.get(role).inputs).not.toMatchObject({ superuser: true });
    }
    expect(graph.get("database-app-tables").inputs).toMatchObject({
      privileges: ["SELECT", "INSERT", "UPDATE", "DELETE"],
    });
  });
});

describe("secrets", () => {
  it("reach the engine only marked as secret", async () => {
    const seen: string[] = [];
    const isMarked = (value: unknown): boolean =>
      (value as Record<string, unknown> | null)?.[pulumi.runtime.specialSigKey] === pulumi.runtime.specialSecretSig;
    const walk = (value: unknown, at: string): void => {
      if (typeof value === "string" && Object.values(canaries).some((canary) => value.includes(canary))) seen.push(at);
      if (typeof value !== "object" || value === null || isMarked(value)) return;
      for (const [key, inner] of Object.entries(value)) walk(inner, `${at}.${key}`);
    };
    const wire = await registeredOnTheWire(released);
    expect(wire.length).toBeGreaterThan(30);
    for (const { name, object } of wire) walk(object, name);
    expect(seen).toEqual([]);
    expect(
      wire
        .filter(({ object }) => JSON.stringify(object).includes(canaries.jwtSecret))
        .map(({ name }) => name)
        .sort(),
    ).toEqual(["blue-slot-container", "blue-slot-gate", "green-slot-container", "green-slot-gate"]);
  });

  it("never ride in a command line or a request", async () => {
    const graph = await runProgram(released, blueServes);
    for (const { name, inputs } of graph.resources.filter(({ type }) => type === "command:local:Command")) {
      const { create, environment } = inputs as { create: string; environment: Record<string, string> };
      expect(create, name).toMatch(/^node ops\/main\.ts [a-z]+$/);
      for (const canary of Object.values(canaries)) expect(environment["TOGATHER_REQUEST"], name).not.toContain(canary);
    }
  });
});

describe("an external database", () => {
  const withoutDatabase = { ...released, databasePassword: "" };
  const appUrl = "postgresql://app:canary-app-r5TcG9aJv4LkXw2b@db:5432/events?sslmode=require";
  const ownerUrl = "postgresql://owner:canary-owner-Q7mZk2RbW9nLd5Hs@db:5432/events?sslmode=require";
  const external = {
    ...withoutDatabase,
    databaseUrl: appUrl,
    migrationDatabaseUrl: ownerUrl,
    database: { mode: "external", network: "shared" },
  };

  it("has nothing made for it, and is looked at before each release", async () => {
    const graph = await runProgram(external, blueServes);
    expect(
      graph.resources
        .filter(({ type, name }) => type.startsWith("postgresql:") || /^(database|postgres)/.test(name))
        .map(({ name }) => name),
    ).toEqual([]);
    const earlier = before(graph, "green-snapshot-dump");
    expect(earlier).toContain("green-database-check");
    expect(earlier).not.toContain("blue-database-check");
    expect(before(graph, "green-database-check")).toContain("begin-entry");
    expect(graph.request("green-database-check")).toMatchObject({
      release: releases.v2,
      extensions: ["postgis", "vector", "pg_trgm"],
      superuser: "error",
    });
    const bare = await runProgram({ ...external, skipMigrations: true }, blueServes);
    expect(before(bare, "green-slot-container")).toContain("green-database-check");
  });

  it("is used by the server with its role, by migrations, snapshots and the gate with the owner's", async () => {
    const graph = await runProgram(external, blueServes);
    const url = (name: string): string | undefined =>
      (graph.get(name).inputs["environment"] as Record<string, string>)["DATABASE_URL"];
    expect(graph.get("green-slot-container").inputs["envs"]).toContain(`DATABASE_URL=${appUrl}`);
    expect([url("green-snapshot-dump"), url("green-migration-up"), url("green-slot-gate")]).toEqual([
      ownerUrl,
      ownerUrl,
      ownerUrl,
    ]);
    expect(graph.get("green-database-check").inputs["environment"]).toMatchObject({
      DATABASE_URL: appUrl,
      MIGRATION_DATABASE_URL: ownerUrl,
    });
    for (const { name, wire } of graph.resources)
      if (JSON.stringify(wire).includes("canary-owner")) expect(name).not.toMatch(/container|switch|record|begin/);
  });

  it("in a Docker network of its own is reached there by slots and steps", async () => {
    const graph = await runProgram(external, blueServes);
    expect(graph.get("green-slot-container").inputs["networksAdvanced"]).toEqual([
      expect.objectContaining({ ipv4Address: expect.any(String) as string }),
      { name: "shared" },
    ]);
    for (const step of ["green-database-check", "green-snapshot-dump", "green-migration-up", "green-slot-gate"])
      expect(graph.request(step)["network"], step).toBe("shared");
    expect(graph.request("green-slot-gate")["url"]).toBe("http://togather-unit-green:8080");
    expect(graph.get("green-slot-container").inputs["hosts"]).toEqual([
      { host: "host.docker.internal", ip: "host-gateway" },
    ]);
    expect((await runProgram(released, blueServes)).get("green-slot-container").inputs).not.toHaveProperty("hosts");
  });
});

describe("another server", () => {
  it("gets no secret that it doesn't read", async () => {
    const { adminApiKey, ...given } = firstDeployment;
    const graph = await runProgram({ ...given, source: { unreadSecrets: ["ADMIN_API_KEY"] } });
    const { envs } = graph.get("blue-slot-container").inputs as { envs: string[] };
    expect(envs.map((text) => text.slice(0, text.indexOf("=")))).toEqual([
      "ENVIRONMENT",
      "LOG_LEVEL",
      "SLOT",
      "PORT",
      "JWT_SECRET",
      "DATABASE_URL",
    ]);
    expect(adminApiKey).toBe(canaries.adminApiKey);
  });

  it("is built and told as its source says", async () => {
    const source = {
      repository: "../server",
      paths: ["."],
      dockerfile: "deploy/Dockerfile",
      buildArguments: { GIT_COMMIT: "{commit}" },
      migrations: "internal/migrations",
      port: 9000,
      portVariable: "SERVER_PORT",
      logLevelVariable: "LEVEL",
      environment: { CORS_ALLOWED_ORIGINS: "*", ENVIRONMENT: "prod" },
      secrets: ["SMTP_PASSWORD"],
      healthPath: "/healthz",
      river: false,
    };
    const graph = await runProgram({ ...firstDeployment, source, secrets: { SMTP_PASSWORD: "canary-smtp" } });
    expect(graph.request("blue-image-build")).toMatchObject({
      dockerfile: "deploy/Dockerfile",
      arguments: { GIT_COMMIT: "{commit}" },
      source: { repository: "../server", paths: ["."] },
    });
    expect(graph.request("blue-migration-up")).toMatchObject({ river: false, source: { path: "internal/migrations" } });
    expect(graph.request("blue-migration-up")).not.toHaveProperty("riverVersion");
    const older = await runProgram({ ...firstDeployment, source: { riverVersion: 6 } });
    for (const step of ["blue-migration-up", "blue-rehearsal-run"])
      expect(older.request(step), step).toMatchObject({ river: true, riverVersion: 6 });
    expect(graph.request("blue-slot-gate")).toMatchObject({
      url: expect.stringMatching(/:9000$/) as string,
      healthPath: "/healthz",
    });
    const { envs, ports } = graph.get("blue-slot-container").inputs as { envs: string[]; ports: unknown };
    expect(envs).toEqual(
      expect.arrayContaining([
        "SERVER_PORT=9000",
        "LEVEL=INFO",
        "CORS_ALLOWED_ORIGINS=*",
        "ENVIRONMENT=prod",
        "SLOT=blue",
        "SMTP_PASSWORD=canary-smtp",
      ]),
    );
    expect(envs.filter((text) => /^(PORT|LOG_LEVEL)=/.test(text))).toEqual([]);
    expect(ports).toEqual([{ internal: 9000, external: 8080, ip: "127.0.0.1" }]);
    expect(
      JSON.stringify(graph.resources.map(({ name, wire }) => (/^blue-slot-(container|gate)$/.test(name) ? "" : wire))),
    ).not.toContain("canary-smtp");
    // Without these settings the inputs stay unchanged.
    expect(graph.get("blue-slot-container").inputs).toMatchObject({
      readOnly: true,
      tmpfs: { "/tmp": "rw,noexec,nosuid,size=64m" },
    });
    // The gate removes these values from the server's output.
    expect(graph.get("blue-slot-gate").inputs["environment"]).toMatchObject({
      SERVER_SECRETS: expect.stringContaining('"canary-smtp"') as string,
    });
  });
});

describe("what a server may write to", () => {
  it("is as its source says, and never changes under the slot that serves", async () => {
    const source = { container: { shmSize: "1g", tmpSize: "512m", home: "/home/togather" } };
    const graph = await runProgram({ ...released, source }, blueServes);
    expect(graph.get("green-slot-container").inputs).toMatchObject({
      readOnly: true,
      shmSize: 1024,
      tmpfs: { "/tmp": "rw,noexec,nosuid,size=512m", "/home/togather": "rw,noexec,nosuid,mode=1777,size=512m" },
    });
    expect(graph.get("blue-slot-container").options.ignoreChanges).toEqual(
      expect.arrayContaining(["tmpfs", "shmSize"]),
    );
    expect((await runProgram(released, blueServes)).get("green-slot-container").inputs).not.toHaveProperty("shmSize");
    expect(changed(await runProgram(released, blueServes), graph)).toEqual([
      "blue-slot-container",
      "green-slot-container",
    ]);
  });
});

describe("what only the deployment knows", () => {
  const source = {
    buildArguments: { DOMAIN: "{publicHost}", GIT_COMMIT: "{commit}", LITERAL: "\\{slot} \\{commit}" },
    environment: {
      TRUSTED: "{routerAddress}/32",
      URL: "{publicUrl}",
      NAME: "{slot} {version} {commit}",
      NET: "{subnet}",
      JSON: '{"a":"{{b}}"}',
    },
  };
  const told = { ...released, source, subnet: "10.9.8.0/24", publicUrl: "https://events.example.org:8443" };

  it("reaches each slot by its settings", async () => {
    const graph = await runProgram(told, blueServes);
    const { envs } = graph.get("green-slot-container").inputs as { envs: string[] };
    expect(envs).toEqual(
      expect.arrayContaining([
        "TRUSTED=10.9.8.2/32",
        "URL=https://events.example.org:8443",
        `NAME=green ${releases.v2.version} ${releases.v2.commit}`,
        "NET=10.9.8.0/24",
        'JSON={"a":"{{b}}"}',
      ]),
    );
    expect(graph.get("router-container").inputs["networksAdvanced"]).toEqual([
      expect.objectContaining({ ipv4Address: "10.9.8.2" }),
    ]);
    // The release's own values are known when the image is built.
    expect(graph.request("green-image-build")["arguments"]).toEqual({
      DOMAIN: "events.example.org:8443",
      GIT_COMMIT: "{commit}",
      LITERAL: "{slot} \\{commit}",
    });
    expect(graph.outputs).toMatchObject({ url: "https://events.example.org:8443" });
  });

  it("changes the idle slot only, and what serves stays as it is", async () => {
    const [before, after] = [
      await runProgram(told, blueServes),
      await runProgram({ ...told, publicUrl: "https://other.example.org" }, blueServes),
    ];
    expect(changed(before, after)).toEqual([
      "blue-image-build",
      "blue-slot-container",
      "green-image-build",
      "green-slot-container",
    ]);
    expect(after.get("blue-slot-container").options.ignoreChanges).toEqual(expect.arrayContaining(["envs", "image"]));
    expect(after.get("green-slot-container").options.ignoreChanges).toEqual([]);
  });
});

describe("settings", () => {
  it("are refused all at once, without a stack trace, before any resource", async () => {
    const failure = await runProgram({
      ...firstDeployment,
      environment: "prod",
      activSlot: "blue",
      databasePort: 99999,
    }).catch((error: unknown) => error);
    expect(pulumi.RunError.isInstance(failure)).toBe(true);
    expect((failure as Error).message).toMatch(/^3 problems in the settings; nothing was changed\./);
  });

  it("leave out snapshot and migrations on request", async () => {
    const graph = await runProgram({ ...firstDeployment, skipMigrations: true });
    expect(graph.resources.map(({ name }) => name).filter((name) => /snapshot|migration/.test(name))).toEqual([]);
    // The schema version of a commit that is not here is unknown.
    expect(graph.request("blue-slot-gate")["expectedMigration"]).toBeNull();
    // The gate checks the schema all the same: the release's own files show the version.
    const commit = execFileSync("git", ["rev-parse", "HEAD"], { encoding: "utf8" }).trim();
    const slots = { blue: { version: "v1.0.0", commit } };
    const known = await runProgram({ ...firstDeployment, slots, skipMigrations: true });
    expect(known.request("blue-slot-gate")["expectedMigration"]).toBe(
      Math.max(...upFiles(readdirSync("migrations")).map(({ version }) => version)),
    );
  });

  it("say what the lint of migrations does in their environment", async () => {
    const graph = await runProgram(firstDeployment);
    expect(graph.request("blue-migration-up")["lint"]).toBe(
      environmentRules[graph.request("blue-migration-up")["environment"] as EnvironmentName].migrationLint,
    );
  });

  it("pull an image by digest instead of building", async () => {
    const image = `registry.example.org/togather@sha256:${"a".repeat(64)}`;
    const graph = await runProgram({ ...firstDeployment, slots: { blue: { version: "v9", image } } });
    expect(graph.get("blue-image-pull").inputs).toMatchObject({ name: image, keepLocally: true });
    expect(graph.request("blue-migration-up")["source"]).toEqual({ kind: "image", image, path: "migrations" });
    expect(graph.resources.map(({ name }) => name)).not.toContain("blue-image-build");
    expect(graph.request("image-retention-prune")["pulled"]).toEqual([image]);
    // Without pulled images the request is unchanged.
    expect((await runProgram(firstDeployment)).request("image-retention-prune")).not.toHaveProperty("pulled");
  });
});

/** The inputs of every resource in the engine's own encoding, in which secrets carry a signature. */
async function registeredOnTheWire(config: Record<string, unknown>): Promise<{ name: string; object: unknown }[]> {
  const graph = await runProgram(config, blueServes);
  return graph.resources.map(({ name, wire }) => ({ name, object: wire }));
}
