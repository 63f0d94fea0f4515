import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exitCodes } from "../../cli/exit-codes.ts";
import { startLoad } from "./load.ts";
import { TestStack } from "./stack.ts";

interface Process {
  pid: number;
  /** Its name, then its command line. */
  command: string;
}

/** Everything that a process has started, itself first. */
async function family(pid: number): Promise<Process[]> {
  const { stdout } = await execa("ps", ["-eo", "pid=,ppid=,comm=,args="]);
  const all = stdout.split("\n").map((line) => {
    const [own, parent, ...command] = line.trim().split(/\s+/);
    return { pid: Number(own), parent: Number(parent), command: command.join(" ") };
  });
  const found = all.filter((one) => one.pid === pid);
  for (const member of found) found.push(...all.filter(({ parent }) => parent === member.pid));
  return found;
}

/** Ids of containers, running or not, by a part of their name. */
const containers = async (name: string): Promise<string> =>
  (await execa("docker", ["ps", "--all", "--quiet", "--no-trunc", `--filter=name=${name}`])).stdout;

// One deployment of production, killed in each of its phases, with clients that never retry.
describe("a deployment that is killed", () => {
  let stack: TestStack;
  /** Three releases in turn: each goes into a slot that held another one, and is built once. */
  const commits: string[] = [];
  let releases = 0;
  let serving: "blue" | "green" = "blue";

  beforeAll(async () => {
    stack = await TestStack.create("production");
    for (const version of ["v0", "v1", "v2"]) commits.push((await stack.commit(version)).commit);
    const { code, stdout, stderr } = await stack.togather("release", commits[0] ?? "", "--version", "v0");
    expect(code, `${stdout}\n${stderr}`).toBe(0);
  });
  afterAll(async () => {
    await stack.remove();
  });

  /** A process of the run that is to be killed, or a container. */
  type Sign = (idle: string, processes: readonly Process[], before: string) => boolean | Promise<boolean>;
  const step =
    (name: string): Sign =>
    async () =>
      (await containers(`togather-${stack.name}-${name}-`)) !== "";
  const isBuilding: Sign = (_idle, processes) => processes.some(({ command }) => /^docker .*\bbuild\b/.test(command));
  const isMade: Sign = async (idle, _processes, before) => {
    const now = await containers(`^/togather-${stack.name}-${idle}$`);
    return now !== "" && now !== before;
  };

  it.each([
    ["begins", "everything", step("begin")],
    ["builds an image", "the engine", isBuilding],
    ["makes a container", "everything", isMade],
    ["asks the gate", "the engine", step("gate")],
    ["switches", "everything", step("switch")],
    ["records", "togather", step("record")],
  ] as const)("while it %s (%s) goes on with one plain run, and no request is lost", async (_doing, who, sign) => {
    const idle = serving === "blue" ? "green" : "blue";
    releases += 1;
    const [before, live] = await Promise.all([
      containers(`^/togather-${stack.name}-${idle}$`),
      containers(`^/togather-${stack.name}-${serving}$`),
    ]);
    const load = startLoad(stack.ports.https, 4, 20, true);
    const child = stack.start("release", commits[releases % 3] ?? "", "--version", `v${releases % 3}`);
    const ended = new AbortController();
    const output = child.then(({ all }) => {
      ended.abort();
      return all;
    });
    let processes = await family(child.pid ?? 0);
    while (!(await sign(idle, processes, before))) {
      if (ended.signal.aborted) throw new Error(`it ended before it could be killed:\n${await output}`);
      await sleep(10);
      processes = await family(child.pid ?? 0);
    }
    const victims =
      who === "everything"
        ? processes
        : who === "the engine"
          ? processes.filter(({ command }) => command.startsWith("pulumi "))
          : processes.slice(0, 1);
    expect(victims).not.toEqual([]);
    for (const { pid } of victims) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has ended with the one before.
      }
    }
    await output;

    const { code, stdout, stderr } = await stack.togather("up");
    expect(code, `${stdout}\n${stderr}`).toBe(0);
    const { lost, acknowledged, slots } = await load.stop();
    expect(lost).toEqual([]);
    expect(acknowledged.length).toBeGreaterThan(20);
    expect(slots).toEqual([serving, idle]);
    // The serving container was never touched.
    expect(await containers(`^/togather-${stack.name}-${serving}$`)).toBe(live);
    if (sign === isMade) expect(stderr).toMatch(new RegExp(`Removed the container togather-${stack.name}-${idle}`));
    expect((await stack.secureGet("/health")).body).toMatchObject({ status: "healthy", version: `v${releases % 3}` });
    serving = idle;
  });

  it("leaves nothing to say once that has been done", async () => {
    const { code, stdout, stderr } = await stack.togather("up");
    expect(code, `${stdout}\n${stderr}`).toBe(0);
    expect(stdout).toMatch(/^Nothing to do/m);
    expect(`${stdout}${stderr}`).not.toMatch(/pending|Removed/);
    const unlock = await stack.togather("unlock");
    expect(unlock.code, `${unlock.stdout}\n${unlock.stderr}`).toBe(0);
    expect(unlock.stdout).toMatch(/Docker host .*: free\n.*backend: free\npending operations: none/);
  });

  it("leaves a lock that only --force removes where it was on another machine", async () => {
    const locks = join(stack.directory, ".togather/state/.pulumi/locks/organization/togather", stack.name);
    mkdirSync(locks, { recursive: true });
    writeFileSync(
      join(locks, "0.json"),
      JSON.stringify({ pid: 4711, username: "alice", hostname: "laptop", timestamp: "2026-01-01T00:00:00Z" }),
    );
    const up = await stack.togather("up");
    expect(up.code, up.stdout).toBe(exitCodes.lock.code);
    expect(up.stdout).toMatch(
      /held by: alice@laptop \(pid 4711\) since 2026-01-01T00:00:00Z: another machine .*\n.*unlock --force/,
    );
    const unlock = await stack.togather("unlock", "--json");
    expect(unlock.code).toBe(exitCodes.lock.code);
    expect(JSON.parse(unlock.stdout)).toMatchObject({
      ok: false,
      hostLock: null,
      backendLocks: [{ user: "alice", holder: "elsewhere", removed: false }],
    });
    const forced = await stack.togather("unlock", "--force");
    expect(forced.code, forced.stdout).toBe(0);
    expect(forced.stderr).toMatch(/WARNING: --force: Pulumi's lock is taken from alice@laptop/);
    const preview = await stack.run("preview");
    expect(preview.ok, preview.output).toBe(true);
    expect(preview.output).toMatch(/traffic stays on (blue|green)/);
  });

  it("is well, says the doctor; and what is not well has its fix", async () => {
    const { code, stdout, stderr } = await stack.togather("doctor");
    expect(code, `${stdout}\n${stderr}`).toBe(0);
    for (const check of [
      "docker",
      "clock of the Docker host",
      "disk of the engine",
      "port \\d+",
      "pulumi",
      "plugins",
      "lock of the host",
      "backend",
      "settings",
      "secrets",
      "release of blue",
      "source tree",
      "database",
    ]) {
      expect(stdout, check).toMatch(new RegExp(`^ok +${check} `, "m"));
    }
    for (const canary of Object.values<string>({ ...stack.canaries })) expect(stdout + stderr).not.toContain(canary);
    const port = createServer().listen(0, "127.0.0.1");
    await once(port, "listening");
    stack.set({ databasePort: (port.address() as AddressInfo).port });
    const ill = await stack.togather("doctor", "--json");
    port.close();
    expect(ill.code).toBe(exitCodes.config.code);
    const { findings } = JSON.parse(ill.stdout) as { findings: { status: string }[] };
    expect(findings.filter(({ status }) => status === "fail")).toMatchObject([
      {
        check: expect.stringMatching(/^port/) as string,
        found: "somebody listens on it",
        fix: expect.stringContaining("togather:databasePort") as string,
      },
    ]);
  });
});
