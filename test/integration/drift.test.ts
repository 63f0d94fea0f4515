import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startLoad } from "./load.ts";
import { TestStack } from "./stack.ts";

// One deployment whose parts are made to disagree: each test starts from what the one before left. What served goes on serving,
// one `up` makes all agree again, and what is said is what the router answers.
describe("a host that is not what Pulumi's state says", () => {
  let stack: TestStack;
  let v1: { version: string; commit: string };
  let v2: { version: string; commit: string };

  beforeAll(async () => {
    stack = await TestStack.create();
    v1 = await stack.commit("v1.0.0");
    stack.edit("server/main.go", "package main", "package main // second release");
    v2 = await stack.commit("v2.0.0");
    stack.set({ slots: { blue: v1 }, activeSlot: "blue" });
    const first = await stack.run("up");
    expect(first.ok, first.output).toBe(true);
    stack.set({ slots: { blue: v1, green: v2 }, activeSlot: "green" });
    const second = await stack.run("up");
    expect(second.ok, second.output).toBe(true);
  });
  afterAll(async () => {
    await stack.remove();
  });

  const container = (part: string): string => `togather-${stack.name}-${part}`;

  async function serving(): Promise<string | null> {
    return (await fetch(stack.url("/health"))).headers.get("x-togather-slot");
  }

  /** Moves the router behind everybody's back, as a step that was killed leaves it. */
  async function move(to: string, where: { memory?: boolean; file?: boolean }): Promise<void> {
    const commands = [
      ...(where.memory === true
        ? [
            `curl --silent --fail --unix-socket /router/run/control.sock -X PUT -d '{"slot":"${to}"}' http://router/slot`,
          ]
        : []),
      ...(where.file === true ? [`sed -i -E 's/"slot": ?"[a-z]+"/"slot":"${to}"/' /router/state/slot.json`] : []),
    ];
    await execa("docker", ["exec", container("router"), "sh", "-ec", commands.join("\n")]);
  }

  async function fileSlot(): Promise<unknown> {
    const { stdout } = await execa("docker", ["exec", container("router"), "cat", "/router/state/slot.json"]);
    return (JSON.parse(stdout) as { slot: unknown }).slot;
  }

  it.each([
    ["memory and file", { memory: true, file: true }],
    ["memory", { memory: true }],
    ["file", { file: true }],
  ])("is brought back by one up, with no request lost: the router's %s on blue", async (_what, where) => {
    const before = await stack.containers();
    const load = startLoad(stack.ports.http);
    await move("blue", where);
    expect((await stack.togather("status")).stdout).toMatch(/Drift: .*(green to serve, blue does|come up on)/);
    expect((await stack.run("preview")).output).toMatch(/switch-traffic/);
    const up = await stack.togather("up");
    const report = await load.stop();
    expect(up.code, up.stderr).toBe(0);
    expect(up.stdout).toMatch(/^green serves v2\.0\.0/m);
    expect(up.stdout).not.toContain("Nothing to do");
    expect([await serving(), await fileSlot()]).toEqual(["green", "green"]);
    expect(report.lost).toEqual([]);
    expect(await stack.containers()).toEqual(before);
    const again = await stack.run("up");
    expect(Object.keys(again.changes), again.output).toEqual(["unchanged"]);
  });

  it("is started again by one up, in order, and gated: all that was stopped", async () => {
    const before = await stack.containers();
    const parts = ["router", "green", "blue", "db"];
    await execa("docker", ["stop", "--time", "5", ...parts.map(container)]);
    const preview = await stack.run("preview");
    for (const part of parts)
      expect(preview.output).toContain(`${container(part)} is exited: pulumi up starts it again`);
    const up = await stack.togather("up");
    expect(up.code, `${up.stdout}\n${up.stderr}`).toBe(0);
    for (const part of parts) expect(up.stderr).toContain(`${container(part)} was exited, and is started again`);
    expect(up.stdout).toMatch(/^gate green +ok/m);
    expect(up.stdout).toMatch(/^green serves v2\.0\.0/m);
    expect(await serving()).toBe("green");
    expect(await stack.containers()).toEqual(before);
    const again = await stack.togather("up");
    expect([again.code, again.stdout]).toEqual([0, expect.stringMatching(/^Nothing to do: green serves/m)]);
  });

  it("is taken as it is by a rollback: it goes by what serves", async () => {
    await move("blue", { memory: true, file: true });
    const { code, stdout, stderr } = await stack.togather("rollback");
    expect(code, stderr).toBe(0);
    expect(stdout).toContain("blue goes on serving v1.0.0");
    expect([await serving(), await fileSlot()]).toEqual(["blue", "blue"]);
    expect((await stack.togather("status")).stdout).toContain("No drift");
  });

  it("keeps what serves until traffic has moved, also where the other slot is to be removed", async () => {
    await move("green", { memory: true, file: true });
    stack.set({ standby: "removed" });
    const load = startLoad(stack.ports.http);
    const up = await stack.togather("up");
    const report = await load.stop();
    expect(up.code, up.stderr).toBe(0);
    expect(report.lost).toEqual([]);
    expect(report.slots).toEqual(["green", "blue"]);
    expect(await serving()).toBe("blue");
    expect([...(await stack.containers()).keys()]).not.toContain(container("green"));
  });
});
