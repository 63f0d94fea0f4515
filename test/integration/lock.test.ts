import { randomBytes } from "node:crypto";
import { createServer, type Http2Server, type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  hostLockHolder,
  lockFile,
  takeHostLock,
  thisHolder,
  type HostLockRequest,
  type HostLockResult,
  type LockHolder,
} from "../../ops/host/host-lock.ts";
import { TestStack } from "./stack.ts";

/** Waits until something is so. @throws when it is not in time. */
async function until(what: string, isSo: () => Promise<boolean>, seconds = 60): Promise<void> {
  const end = Date.now() + seconds * 1000;
  while (!(await isSo())) {
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await sleep(50);
  }
}

/** On the Docker host, as root. */
async function onHost(command: string): Promise<string> {
  return (
    await execa("docker", [
      "run",
      "--rm",
      "--network=none",
      "--volume=/tmp:/tmp",
      "debian:trixie-slim",
      "bash",
      "-c",
      command,
    ])
  ).stdout;
}

const isFree = async (name: string): Promise<boolean> => (await hostLockHolder(name, "")) === undefined;

describe("the lock on the Docker host", () => {
  /** The part of Pulumi that the keeper sees: an HTTP/2 server that lives as long as a deployment. */
  let engine: { address: string; end: () => void };
  let name: string;
  const programs: (() => void)[] = [];

  beforeEach(async () => {
    name = `test-lock-${randomBytes(4).toString("hex")}`;
    const server: Http2Server = createServer();
    const sessions = new Set<ServerHttp2Session>();
    server.on("session", (session) => sessions.add(session));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const end = (): void => {
      for (const session of sessions) session.destroy();
      server.close();
    };
    engine = { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, end };
  });
  afterEach(async () => {
    for (const kill of programs.splice(0)) kill();
    engine.end();
    await until("the lock is free", () => isFree(name));
    await onHost(`rm -f ${lockFile(name)}`);
  });

  /** A program that deploys. Resolves once it has the lock, or has been refused. */
  async function deploy(
    request: Partial<HostLockRequest> = {},
  ): Promise<{ result: HostLockResult; pid: number | undefined; kill: () => void; ended: Promise<string> }> {
    const program = execa(
      process.execPath,
      [
        join(import.meta.dirname, "lock-holder.ts"),
        JSON.stringify({ name, engine: engine.address, force: false, ...request }),
      ],
      {
        reject: false,
        stderr: "inherit",
      },
    );
    const kill = (): void => void program.kill("SIGKILL");
    programs.push(kill);
    const first = await new Promise<string>((resolve) => {
      program.stdout.once("data", (data: Buffer) => {
        resolve(String(data));
      });
      void program.then(() => {
        resolve("null");
      });
    });
    return {
      result: JSON.parse(first) as HostLockResult,
      pid: program.pid,
      kill,
      ended: program.then(({ stdout }) => stdout),
    };
  }

  it("is had by exactly one of several that start at once; the others are told by whom", async () => {
    const all = await Promise.all([deploy(), deploy(), deploy()]);
    const [holder, ...more] = all.filter(({ result }) => result.held);
    expect(more).toEqual([]);
    const told = all.filter(({ result }) => !result.held).map(({ result }) => result);
    for (const result of told)
      expect(result).toMatchObject({
        held: false,
        forced: false,
        holder: { pid: holder?.pid, stack: "organization/togather/other", active_slot: "blue" },
      });
    expect(told).toHaveLength(2);
    expect(await hostLockHolder(name, "")).toMatchObject({
      pid: holder?.pid,
      held_by: expect.stringContaining("@") as string,
    });
  });

  it("outlives a program that is killed for as long as its engine lives, and no longer", async () => {
    const first = await deploy();
    await sleep(500); // The keeper has found the engine.
    first.kill();
    await first.ended;
    expect((await deploy()).result).toMatchObject({ held: false, holder: { pid: first.pid } });
    engine.end();
    await until("the lock is free", () => isFree(name), 5);
    expect((await deploy()).result).toEqual({ held: true });
  });

  it("ends with a program that is killed where there is no engine any more", async () => {
    const first = await deploy({ engine: "127.0.0.1:1" });
    first.kill();
    await until("the lock is free", () => isFree(name), 5);
    expect((await deploy()).result).toEqual({ held: true });
    expect(await onHost(`cat ${lockFile(name)}`)).not.toMatch(/released/);
  });

  it("can be passed by force, which is noted in the lock file", async () => {
    const first = await deploy();
    const second = await deploy({ force: true });
    expect(second.result).toMatchObject({ held: false, forced: true, holder: { pid: first.pid } });
    const [holder, note] = (await onHost(`cat ${lockFile(name)}`))
      .split("\n")
      .map((line) => JSON.parse(line) as LockHolder & { forced_by?: LockHolder });
    expect(holder).toMatchObject({ pid: first.pid });
    expect(note?.forced_by).toMatchObject({ pid: second.pid });
    expect((await deploy()).result).toMatchObject({ held: false, holder: { pid: first.pid } });
  });

  it("is taken by force where it is free: others must see it all the same", async () => {
    expect((await deploy({ force: true })).result).toEqual({ held: true });
    expect((await deploy()).result).toMatchObject({ held: false });
  });

  it("is kept by signs of life, given up without them, and its holder is told", async () => {
    const first = await deploy({ silenceSeconds: 2 });
    await sleep(4000);
    expect((await deploy()).result).toMatchObject({ held: false, holder: { pid: first.pid } });
    // For the container, a machine without power is a client that sends nothing more.
    const { stdout: client } = await execa("pgrep", ["-P", String(first.pid), "-x", "docker"]);
    process.kill(Number(client), "SIGSTOP");
    await until("the lock is free", () => isFree(name), 20);
    process.kill(Number(client), "SIGCONT");
    expect(await first.ended).toMatch(/lost$/);
    expect(await onHost(`tail -n 1 ${lockFile(name)}`)).toMatch(/^\{"lost":"\d{4}-.*Z"\}$/);
  });

  it("is freed by nobody who removes its file", async () => {
    const first = await deploy();
    await onHost(`rm ${lockFile(name)}`);
    const [second, third] = await Promise.all([deploy(), deploy()]);
    for (const { result } of [second, third]) expect(result).toMatchObject({ held: false, holder: { pid: first.pid } });
    expect(JSON.parse(await onHost(`cat ${lockFile(name)}`))).toMatchObject({ pid: first.pid });
    // By another one in its place, too.
    await onHost(`rm ${lockFile(name)} && touch ${lockFile(name)}`);
    expect((await deploy()).result).toMatchObject({ held: false, holder: { pid: first.pid } });
    first.kill();
    engine.end();
    await until("the lock is free", () => isFree(name), 5);
  });

  it("respects an flock by hand, and works on another user's file", async () => {
    await onHost(`touch ${lockFile(name)} && chown 1000:1000 ${lockFile(name)}`);
    const hand = execa(
      "docker",
      [
        "run",
        "--rm",
        "--interactive",
        "--user=1000",
        "--volume=/tmp:/tmp",
        "debian:trixie-slim",
        "flock",
        lockFile(name),
        "bash",
        "-c",
        "echo held; read",
      ],
      { reject: false },
    );
    await new Promise((resolve) => hand.stdout.once("data", resolve));
    expect((await deploy()).result).toEqual({ held: false, forced: false });
    hand.stdin.end();
    await hand;
    const after = await deploy();
    expect(after.result).toEqual({ held: true });
    expect(JSON.parse(await onHost(`cat ${lockFile(name)}`))).toMatchObject({ pid: after.pid });
  });

  it("says what is wrong with a host that has no engine", async () => {
    const request = {
      name,
      host: "tcp://127.0.0.1:1",
      engine: engine.address,
      force: false,
      onWait: () => undefined,
      onLost: () => undefined,
    };
    const holder = thisHolder({ stack: "s", active_slot: "blue", slots: {} });
    await expect(takeHostLock({ ...request, holder })).rejects.toThrow(
      `${lockFile(name)} can't be locked on the Docker host: the Docker engine doesn't answer`,
    );
    expect(await hostLockHolder(name, request.host)).toBeUndefined();
  });
});

// Two operators, each with a backend, and two deployments of the same name: the first is stopped at its gate and killed
// there.
describe("two deployments", () => {
  let first: TestStack;
  let second: TestStack;
  let release: { version: string; commit: string };
  let killed: ReturnType<TestStack["run"]>;

  beforeAll(async () => {
    [first, second] = await Promise.all([TestStack.create(), TestStack.create()]);
    // A server that begins when it is told to: until then its release is at its gate.
    first.edit(
      "server/main.go",
      "func main() {",
      "func main() {\n\ttold := make(chan os.Signal, 1)\n\tsignal.Notify(told, syscall.SIGUSR1)\n\tif len(os.Args) == 1 {\n\t\t<-told\n\t}",
    );
    release = await first.commit("v1.0.0");
    const on = (directory: string): string => join(first.directory, ".togather", directory);
    const deployment = {
      deployment: { health_check_retries: 2, health_check_interval: 0.5, grace_period: 600 },
      database: { backup_location: on("backups") },
      logging: { location: on("log") },
      state: { location: on("deployment") },
    };
    first.set({ slots: { blue: release }, activeSlot: "blue", deployment });
    second.set({ name: first.name, slots: { blue: release }, activeSlot: "blue" });
  });
  afterAll(async () => {
    await Promise.all([first.remove(), second.remove()]);
    await onHost(`rm -f ${lockFile(first.name)}`);
  });

  const isAtGate = async (): Promise<boolean> =>
    (await execa("docker", ["ps", "--quiet", `--filter=name=togather-${first.name}-gate-`])).stdout !== "";

  it("of which the second is refused, before it has touched anything", async () => {
    killed = first.run("up");
    const failed = killed.then(({ output }) => {
      throw new Error(`the first deployment has ended before its gate:\n${output}`);
    });
    await Promise.race([until("the first deployment is at its gate", isAtGate, 300), failed]);
    failed.catch(() => undefined);
    const refused = await second.run("up");
    expect(refused.ok).toBe(false);
    const holder = await hostLockHolder(first.name, "");
    expect(refused.output).toContain(
      `error: The deployment ${first.name} is locked: another one is running. Nothing was changed.`,
    );
    expect(refused.output).toContain(
      `held by: ${holder?.held_by ?? ""}, pid ${holder?.pid ?? 0}, since ${holder?.since ?? ""}`,
    );
    expect(refused.output).toContain(
      `for: stack organization/togather/${first.name}: blue is to serve; blue v1.0.0 (${release.commit.slice(0, 7)})`,
    );
    expect(refused.output).not.toMatch(/at .*\.ts:\d+/);
    expect(JSON.parse(await second.state())).toMatchObject({
      deployment: { resources: [{ type: "pulumi:pulumi:Stack" }] },
    });
  });

  it("of which a preview says that one is running", async () => {
    const preview = await second.run("preview");
    expect(preview.ok, preview.output).toBe(true);
    expect(preview.output).toContain(`warning: A deployment of ${first.name} is running: `);
  });

  it("free the lock when they are killed, and leave no step running", async () => {
    const holder = await hostLockHolder(first.name, "");
    expect(await isAtGate()).toBe(true);
    process.kill(holder?.pid ?? 0, "SIGKILL");
    expect((await killed).ok).toBe(false);
    await until("the lock is free", () => isFree(first.name), 5);
    await until("the gate has ended", async () => !(await isAtGate()), 20);
  });

  it("leave Pulumi's own lock behind with the file backend, which `pulumi cancel` removes", async () => {
    const again = await first.run("up");
    expect(again.ok).toBe(false);
    expect(again.output).toMatch(
      /error: the stack is currently locked by 1 lock\(s\)\. Either wait for the other process\(es\) to end or delete the lock file with `pulumi cancel`\.\n.*created by \S+@\S+ \(pid \d+\) at /,
    );
    await first.pulumi(["cancel", "--yes", "--stack", first.name]);
  });

  it("go on where they were killed", async () => {
    await execa("docker", ["kill", "--signal=USR1", `togather-${first.name}-blue`]);
    const up = await first.run("up");
    expect(up.ok, up.output).toBe(true);
    expect(up.output).toMatch(
      /warning: Attempting to deploy or update resources with 1 pending operations from previous deployment\.\n.*blue-slot-gate, interrupted while creating/,
    );
    expect(await (await fetch(first.url("/health"))).json()).toMatchObject({ status: "healthy", version: "v1.0.0" });
  });

  it("have nothing left to say once pending creates are cleared", async () => {
    await first.pulumi(["refresh", "--yes", "--clear-pending-creates", "--stack", first.name]);
    const up = await first.run("up");
    expect(up.ok, up.output).toBe(true);
    expect(up.output).not.toContain("pending operations");
    expect(Object.keys(up.changes)).toEqual(["unchanged"]);
  });
});
