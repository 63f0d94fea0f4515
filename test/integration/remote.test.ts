import { createServer, type Server } from "node:net";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { forwardedPort } from "../../ops/host/forward-database.ts";
import { eventually } from "../step-harness.ts";
import { DockerHost } from "./docker-host.ts";
import { TestStack } from "./stack.ts";

// Each test starts from what the one before left.
describe("a Docker host that is reached by ssh", () => {
  let stack: TestStack;
  let host: DockerHost;
  /** Another deployment's database, on the port that ours has on its own machine. */
  let other: Server;
  let connectionsToOther = 0;

  /** The answer of the other machine's router, with the slot that answered. */
  async function health(): Promise<{ slot: string | null; version: string }> {
    const response = await fetch(`http://127.0.0.1:${host.forwardedPort}/health`, { headers: { connection: "close" } });
    return {
      slot: response.headers.get("x-togather-slot"),
      version: ((await response.json()) as { version: string }).version,
    };
  }

  beforeAll(async () => {
    stack = await TestStack.create();
    host = await DockerHost.start(stack.ports.http);
    await host.load("ops", "postgres", "nginx");
    stack.variables = host.environment;
    stack.set({
      host: host.address,
      listenAddress: "0.0.0.0",
      slots: { blue: await stack.commit("v1.0.0") },
      // The other machine's own directories, where they usually are.
      deployment: { deployment: { grace_period: 8 } },
    });
    other = createServer((socket) => {
      connectionsToOther += 1;
      socket.destroy();
    });
    await new Promise<void>((resolve) => other.listen(stack.ports.database, "127.0.0.1", resolve));
  });

  afterAll(async () => {
    other.close();
    await host.remove();
    await stack.remove();
  });

  it("gets a deployment from here, database roles included, and this machine gets nothing", async () => {
    const up = await stack.run("up");
    expect(up.output).not.toMatch(/error:/);
    expect(up.ok).toBe(true);
    expect(await health()).toEqual({ slot: "blue", version: "v1.0.0" });
    expect(await stack.output("url")).toBe(`http://events.test:${stack.ports.http}`);
    expect((await host.docker("ps", "--format={{.Names}}")).split("\n").sort()).toEqual(
      ["blue", "db", "router"].map((part) => `togather-${stack.name}-${part}`),
    );
    expect([...(await stack.containers()).keys()]).toEqual([]);
    expect(connectionsToOther).toBe(0);
    expect(
      await host.run(
        "find",
        "/var/lib/togather",
        "/var/backups/togather",
        "/var/log/togather",
        "-type",
        "f",
        "-name",
        "*[a-z]",
      ),
    ).toMatch(/\/deployment-state\.json\n/);
  });

  it("leaves no way into the database open here", async () => {
    await eventually(
      "the forwarded port closes",
      async () =>
        (await execa("bash", ["-c", `exec 3<>/dev/tcp/127.0.0.1/${forwardedPort(stack.name)}`], { reject: false }))
          .failed,
      10,
    );
  });

  it("has nothing to do when nothing changed", async () => {
    const preview = await stack.run("preview");
    expect(preview.ok).toBe(true);
    expect(Object.keys(preview.changes)).toEqual(["unchanged"]);
    const up = await stack.run("up");
    expect(Object.keys(up.changes)).toEqual(["unchanged"]);
    const refresh = await stack.pulumi(["refresh", "--run-program", "--yes", "--stack", stack.name]);
    expect(refresh).not.toMatch(/error/);
  });

  it("takes a release and a rollback as an operator types them", async () => {
    await stack.commitTagged("v1.1.0");
    const release = await stack.togather("release", "v1.1.0");
    expect({ code: release.code, stderr: release.stderr }).toEqual({
      code: 0,
      stderr: expect.not.stringMatching(/error|FAILED/) as unknown,
    });
    expect(await health()).toEqual({ slot: "green", version: "v1.1.0" });
    const rollback = await stack.togather("rollback");
    expect(rollback.code).toBe(0);
    expect(await health()).toEqual({ slot: "blue", version: "v1.0.0" });
  });

  it("is looked at from here", async () => {
    const status = await stack.togather("status");
    expect(status.stdout).toMatch(/blue v1\.0\.0 .* serves since .*by the router's own answer; recorded so/);
    expect(status.stdout).toMatch(/No drift/);
    const doctor = await stack.togather("doctor");
    expect(doctor.stdout).toMatch(/^ok +docker +ssh:\/\/root@events\.test: Docker \d/m);
    expect(doctor.stdout).toMatch(/, 0 failed/);
    expect(await stack.togather("exec", "--stack", stack.name, "--", "/server", "version")).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^v1\.0\.0 /) as unknown,
    });
    expect((await stack.togather("logs", "--slot", "router", "--tail", "1")).code).toBe(0);
    const snapshots = await stack.togather("snapshots", "list");
    expect(snapshots.stdout.match(/ verified /g)).toHaveLength(2);
  });

  it("is not left for another one: refused before anything changes, with both named", async () => {
    const known = async (): Promise<unknown[]> =>
      (
        JSON.parse(await stack.state()) as { deployment: { resources: { urn: string; id?: string }[] } }
      ).deployment.resources.map(({ urn, id }) => [urn, id]);
    const before = await known();
    stack.set({ host: "" });
    for (const refused of [await stack.run("preview"), await stack.run("up")]) {
      expect(refused.ok).toBe(false);
      expect(refused.output).toMatch(
        /deployed on ssh:\/\/root@events\.test, where it goes on running, and can't move to this machine's own engine/,
      );
      expect(refused.output).toContain(`pulumi config set --stack ${stack.name} togather:host ssh://root@events.test`);
    }
    expect(await known()).toEqual(before);
    expect([...(await stack.containers()).keys()]).toEqual([]);
    expect(await health()).toEqual({ slot: "blue", version: "v1.0.0" });
    stack.set({ host: host.address });
    const up = await stack.run("up");
    expect(Object.keys(up.changes), up.output).toEqual(["unchanged"]);
  });

  it("is emptied from here", async () => {
    const destroy = await stack.run("destroy");
    expect(destroy.ok).toBe(true);
    expect(await host.docker("ps", "--all", "--quiet")).toBe("");
  });
});
