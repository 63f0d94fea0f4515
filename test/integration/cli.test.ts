import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exitCodes } from "../../cli/exit-codes.ts";
import { lockFile } from "../../ops/host/host-lock.ts";
import { TestStack } from "./stack.ts";

// One deployment lives through its life in order: each test starts from what the one before left.
describe("togather", () => {
  let stack: TestStack;
  let v1: { version: string; commit: string };

  beforeAll(async () => {
    stack = await TestStack.create("production");
    stack.set({
      deployment: stack.deployment({
        deployment: {
          failure_command: [
            "sh",
            "-c",
            'echo "$TOGATHER_STATUS $TOGATHER_FAILED_PHASE $TOGATHER_VERSION" >> .togather/told.txt',
          ],
        },
      }),
    });
    v1 = await stack.commitTagged("v1.0.0");
  });
  afterAll(async () => {
    await stack.remove();
  });

  /** New input of the operator's failure command. */
  function told(): string[] {
    const path = join(stack.directory, ".togather/told.txt");
    const lines = existsSync(path) ? readFileSync(path, "utf8").trim().split("\n") : [];
    rmSync(path, { force: true });
    return lines;
  }
  /**
   * Puts a `pulumi` first on PATH that records its arguments.
   * @returns a function that returns the recorded calls and removes it.
   */
  async function countPulumi(): Promise<() => string[]> {
    const directory = join(stack.directory, ".togather/counted");
    const log = join(directory, "calls");
    mkdirSync(directory, { recursive: true });
    const { stdout: real } = await execa("sh", ["-c", "command -v pulumi"]);
    const script = `#!/bin/sh\necho "$1 $2" >> '${log}'\nexec '${real}' "$@"\n`;
    writeFileSync(join(directory, "pulumi"), script, { mode: 0o755 });
    stack.variables = { PATH: `${directory}:${process.env["PATH"] ?? ""}` };
    // The first command checks its findings.
    expect((await stack.togather("rollback", "--dry-run")).code).toBe(0);
    rmSync(log);
    return () => {
      stack.variables = {};
      return readFileSync(log, "utf8").trim().split("\n");
    };
  }
  const file = (): string => readFileSync(join(stack.directory, `Pulumi.${stack.name}.yaml`), "utf8");
  async function json(...args: string[]): Promise<Record<string, unknown>> {
    return JSON.parse((await stack.togather(...args, "--json")).stdout) as Record<string, unknown>;
  }

  it("refuses what it does not know, and changes nothing", async () => {
    const before = file();
    const { code, stdout, stderr } = await stack.togather("release", "v9.9.9");
    expect(code, stderr).toBe(exitCodes.config.code);
    expect(stderr).toMatch(/v9\.9\.9 is not a commit, tag or branch of this repository\n {2}→ git/);
    expect(`${stdout}${stderr}`).not.toMatch(/at .*\.ts:\d+/);
    expect(file()).toBe(before);
    expect(await stack.containers()).toEqual(new Map());
  });

  it("shows nothing where nothing is deployed", async () => {
    expect((await stack.togather("status")).stdout).toMatch(/Nothing is deployed here/);
    expect((await stack.togather("history")).stdout).toBe("No deployment is recorded.");
    expect((await stack.togather("logs")).code).toBe(exitCodes.config.code);
  });

  it("releases a tag into an empty slot", async () => {
    const { code, stdout, stderr } = await stack.togather("release", "v1.0.0");
    expect(code, `${stdout}\n${stderr}`).toBe(0);
    expect(stdout).toContain(`blue gets v1.0.0 (${v1.commit.slice(0, 7)}); traffic starts on blue`);
    for (const phase of [
      "begin",
      "build blue",
      "database",
      "router",
      "snapshot blue",
      "rehearse blue",
      "migrate blue",
      "container blue",
      "gate blue",
      "switch",
      "record",
    ]) {
      expect(stdout, phase).toMatch(new RegExp(`^${phase} +ok +[\\d.]+ s`, "m"));
    }
    expect(stdout).toMatch(/^blue serves v1\.0\.0 /m);
    expect(file()).toMatch(new RegExp(`blue:\\n +version: v1.0.0\\n +commit: "${v1.commit}"`));
  });

  it("knows how it is", async () => {
    const status = await json("status");
    expect(status).toMatchObject({
      serving: { slot: "blue", release: v1, health: { status: "healthy", version: "v1.0.0" } },
      slots: { blue: { release: v1, container: { state: "running" }, health: { status: "healthy" } }, green: {} },
      lastDeployment: { status: "succeeded" },
      drift: [],
    });
    expect((await stack.togather("logs")).stdout).toMatch(/SUCCESS +record/);
  });

  it("shows what a container says, and runs a command in the one that serves", async () => {
    const server = await stack.togather("logs", "--slot", "blue", "--tail", "500");
    expect(server, server.stderr).toMatchObject({ code: 0 });
    expect(server.stdout + server.stderr).toMatch(/"slot":"blue"|listening|started/i);
    const last = await stack.togather("logs", "--slot", "router", "--tail", "1");
    expect((last.stdout + last.stderr).trim().split("\n")).toHaveLength(1);
    expect((await stack.togather("logs", "--tail", "1")).stdout).toMatch(/^\S+ SUCCESS +record/);
    const missing = await stack.togather("logs", "--slot", "green");
    expect(missing).toMatchObject({
      code: exitCodes.other.code,
      stderr: expect.stringMatching(/green has no container .*\n {2}→ .*release REF --no-switch/) as unknown,
    });

    const exec = (...args: string[]) => stack.togather("exec", "--stack", stack.name, ...args);
    // The stack's name, which is added behind, is the command's own here: one that takes none refuses.
    expect(await exec("--", "/server", "version")).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^v1\.0\.0 \(commit/) as unknown,
    });
    expect((await exec("--", "/server", "no such thing")).code).toBe(2);
    expect((await exec("--", "/nowhere")).code).toBeGreaterThanOrEqual(126);
    const document = JSON.parse((await exec("--json", "--slot", "blue", "--", "/server", "version")).stdout) as unknown;
    expect(document).toMatchObject({
      slot: "blue",
      container: `togather-${stack.name}-blue`,
      exitCode: 0,
      stdout: expect.stringMatching(/^v1/) as unknown,
    });
    expect(await exec("--slot", "green", "--", "/server", "version")).toMatchObject({
      code: exitCodes.other.code,
      stderr: expect.stringMatching(/green has no container/) as unknown,
    });
    await execa("docker", ["stop", `togather-${stack.name}-blue`]);
    expect(await exec("--", "/server", "version")).toMatchObject({
      code: exitCodes.other.code,
      stderr: expect.stringMatching(/blue is exited: a command needs a container that runs/) as unknown,
    });
    expect((await stack.togather("logs", "--slot", "blue", "--tail", "5")).code).toBe(0);
    await execa("docker", ["start", `togather-${stack.name}-blue`]);
  });

  it("is told at once when somebody else deploys", async () => {
    const other = spawn("flock", [lockFile(stack.name), "sh", "-c", "echo held; cat"], {
      stdio: ["pipe", "pipe", "ignore"],
    });
    await once(other.stdout, "data");
    const { code, stdout } = await stack.togather("up");
    other.stdin.end();
    await once(other, "close");
    expect(code, stdout).toBe(exitCodes.lock.code);
    expect(stdout).toMatch(/is locked: another one is running/);
    expect(stdout).toMatch(/blue serves v1\.0\.0 .*it is healthy/);
  });

  it("waits for who deploys where it is told to, and then has the lock for itself", async () => {
    const other = spawn("flock", [lockFile(stack.name), "sh", "-c", "echo held; cat"], {
      stdio: ["pipe", "pipe", "ignore"],
    });
    await once(other.stdout, "data");
    const waiting = stack.togather("up", "--wait");
    await sleep(8_000);
    other.stdin.end();
    await once(other, "close");
    const { code, stdout, stderr } = await waiting;
    expect(code, stdout + stderr).toBe(0);
    expect(stdout).toMatch(
      /^Waiting for whoever holds \/tmp\/togather-deploy-.*\nDeploying .*\nNothing to do: blue serves/,
    );
  });

  it("says everywhere that maintenance is on, and who serves behind it", async () => {
    const on = await stack.togather("maintenance", "on", "--message", "back soon");
    expect(on.code, on.stdout + on.stderr).toBe(0);
    expect(on.stdout).toMatch(
      /^Maintenance is on since .*, by .*: the router answers 503 to the public \("back soon"\)\./,
    );
    expect(await json("status")).toMatchObject({
      maintenance: { message: "back soon" },
      serving: { slot: "blue", health: { status: "healthy" } },
      drift: [],
    });
    const up = await stack.togather("up");
    expect(up.code, up.stdout + up.stderr).toBe(0);
    expect(up.stderr).toContain("Maintenance is on since");
    expect(up.stdout).toMatch(/Nothing to do: blue serves v1\.0\.0 .* behind the maintenance page/);
    const off = await stack.togather("maintenance", "off");
    expect(off.stdout).toBe("Maintenance is off: the public reaches the slot that serves.");
    expect(await json("status")).toMatchObject({ maintenance: null });
  });

  it("says beforehand what a release would do, and does nothing", async () => {
    stack.edit(
      "server/main.go",
      "func main() {",
      'func main() {\n\tprintln("refusing to start, on purpose")\n\tif true {\n\t\tpanic("broken release")\n\t}',
    );
    writeFileSync(join(stack.directory, "migrations/000099_never.up.sql"), "SELECT 1;\n");
    const broken = await stack.commit("v2.0.0");
    const [before, containers] = [file(), await stack.containers()];
    const { code, stdout, stderr } = await stack.togather(
      "release",
      broken.commit.slice(0, 10),
      "--version",
      "v2.0.0",
      "--dry-run",
    );
    expect(code, `${stdout}\n${stderr}`).toBe(0);
    expect(stdout).toContain(
      `green gets v2.0.0 (${broken.commit.slice(0, 7)}); 1 migration; traffic moves blue to green\n  000099_never.up.sql\n`,
    );
    expect(stdout).toMatch(/^Checks: \d+ ok, 0 warnings, 0 failed$/m);
    expect(stderr).toMatch(
      /WARNING: migrations: the lint has found, in files that this deployment would apply:\n {2}000099_never\.up\.sql:1: missing-down: /,
    );
    expect(stdout).toMatch(
      /Would run: begin, build green, snapshot green, rehearse green, migrate green, container green, gate green, switch, record/,
    );
    expect(file()).toBe(before);
    expect(await stack.containers()).toEqual(containers);
  });

  it("ends with the gate's code when a release does not pass, and says what serves and what to do", async () => {
    const { code, stdout } = await stack.togather("release", "HEAD", "--version", "v2.0.0", "--skip-migrations");
    expect(code, stdout).toBe(exitCodes.gate.code);
    expect(stdout).toMatch(/^gate green +FAILED/m);
    expect(told()).toEqual(["failed gate v2.0.0"]);
    expect(stdout).toMatch(/panic: broken release/);
    expect(stdout).toMatch(/^blue serves v1\.0\.0 .*, as before; it is healthy\.$/m);
    expect(stdout).toMatch(/togather rollback --stack/);
    // The file says what is wanted, without the override of this run.
    expect(file()).toMatch(/activeSlot: green/);
    expect(file()).not.toMatch(/skipMigrations/);
    expect((await stack.togather("logs")).stdout).toMatch(
      /WARN .*this deployment was run with --skip-migrations \(togather:skipMigrations\)/,
    );
    const status = await json("status");
    expect(status).toMatchObject({
      serving: { slot: "blue", release: v1 },
      lastDeployment: { status: "failed", failedPhase: "gate" },
      wanted: { activeSlot: "green" },
    });
    expect(status["drift"]).toContain(`Pulumi.${stack.name}.yaml wants green to serve, blue does`);
  });

  it("gives up what failed", async () => {
    const { code, stdout, stderr } = await stack.togather("rollback");
    expect(code, `${stdout}\n${stderr}`).toBe(0);
    expect(stdout).toMatch(/blue goes on serving v1\.0\.0 .*v2\.0\.0 .* is given up/);
    expect(await json("status")).toMatchObject({
      serving: { slot: "blue" },
      slots: { blue: { release: v1 } },
      drift: [],
    });
    expect((await stack.containers()).has(`togather-${stack.name}-green`)).toBe(false);
  });

  it("calls failed what can't be built, also after a plain pulumi up", async () => {
    stack.edit("server/main.go", "package main", "package main // and no Go");
    stack.edit("server/main.go", "func main() {", "func main( {");
    const unbuildable = await stack.commit("v2.1.0");
    const before = file();
    stack.set({ slots: { blue: v1, green: { version: "v2.1.0", commit: unbuildable.commit } }, activeSlot: "green" });
    const up = await stack.run("up");
    stack.edit("server/main.go", "func main( {", "func main() {");
    expect(up.ok).toBe(false);
    const status = await json("status");
    expect(status).toMatchObject({
      serving: { slot: "blue" },
      lastDeployment: { status: "failed", failedPhase: "build", version: "v2.1.0" },
    });
    expect((await stack.togather("logs")).stdout).toMatch(/ERROR +fail /);
    writeFileSync(join(stack.directory, `Pulumi.${stack.name}.yaml`), before);
    expect((await stack.togather("up")).code).toBe(0);
  });

  it("goes on where the state holds more output of steps than a program can be started with", async () => {
    const talked = JSON.parse(await stack.state()) as {
      deployment: { resources: { type: string; urn: string; outputs: Record<string, unknown> }[] };
    };
    const steps = talked.deployment.resources.filter(
      ({ type, urn }) =>
        type === "command:local:Command" && /::(switch-traffic|record-step|begin-step|record|begin)$/.test(urn),
    );
    expect(steps.map(({ urn }) => urn)).toContainEqual(expect.stringContaining("switch-traffic"));
    for (const { outputs } of steps) outputs["stderr"] = "x".repeat(140_000);
    writeFileSync(join(stack.directory, "state.json"), JSON.stringify(talked));
    await stack.pulumi(["stack", "import", "--file", "state.json", "--stack", stack.name]);
    rmSync(join(stack.directory, "state.json"));
    expect((await stack.togather("doctor")).stdout).toMatch(
      /WARN +output of steps +the state holds so much output of .*switch-traffic/,
    );
  });

  it("releases what may serve, and rolls it back by a deployment's id", async () => {
    // The same commit under another name: what is built is there already.
    const released = await json("release", "v1.0.0", "--version", "v1.0.1");
    const v3 = { version: "v1.0.1", commit: v1.commit };
    expect(released).toMatchObject({ ok: true, exitCode: 0, serving: { slot: "green", release: v3 } });
    expect(await stack.state()).not.toContain("x".repeat(1000));
    const [newest, ...older] = JSON.parse((await stack.togather("history", "--json")).stdout) as {
      id: string;
      status: string;
      version: string;
    }[];
    expect(newest).toMatchObject({ id: released["deploymentId"], status: "succeeded", version: "v1.0.1" });
    expect(older.map(({ status, version }) => `${version} ${status}`)).toEqual([
      "v1.0.0 succeeded",
      "v2.1.0 failed",
      "v1.0.0 succeeded",
      "v2.0.0 failed",
      "v1.0.0 succeeded",
    ]);
    const failed = await stack.togather("rollback", "--to", String(older[1]?.id));
    expect(failed.code).toBe(exitCodes.config.code);
    expect(failed.stderr).toMatch(/it never served/);
    const calls = await countPulumi();
    const back = await stack.togather("rollback", "--to", String(older[2]?.id));
    expect(back.code, `${back.stdout}\n${back.stderr}`).toBe(0);
    expect(back.stdout).toMatch(/traffic moves green to blue/);
    // Reading the last deployment's result, the run, and its program's question. Not the run's own results.
    expect(calls().sort()).toEqual(["stack export", "stack output", "up --yes"]);
    expect(await json("status")).toMatchObject({
      serving: { slot: "blue", release: v1 },
      slots: { green: { release: v3 } },
      drift: [],
    });
  });

  it("writes the state on the host again when it was lost, from what runs and without touching it", async () => {
    const before = await stack.containers();
    const directory = join(stack.directory, ".togather/deployment", stack.name);
    rmSync(directory, { recursive: true });
    expect(await json("status")).toMatchObject({ serving: { slot: "blue", release: v1 } });
    const { code, stdout, stderr } = await stack.togather("up");
    expect(code, `${stdout}\n${stderr}`).toBe(0);
    expect(stderr).toMatch(
      /deployment-state\.json was lost, or could not be written; it is written again from what runs/,
    );
    expect(JSON.parse(readFileSync(join(directory, "deployment-state.json"), "utf8"))).toMatchObject({
      active_slot: "blue",
      version: "v1.0.0",
      git_commit: v1.commit,
      slots: { blue: v1, green: { version: "v1.0.1" } },
    });
    expect(await stack.containers()).toEqual(before);
    const again = await stack.togather("up");
    expect(again.stderr).not.toMatch(/was lost/);
  });

  it("sends traffic back when what the public asks for is missing, and says so everywhere", async () => {
    stack.edit(
      "deployment.yml",
      "post_switch_checks: auto",
      "post_switch_checks: [{ path: /health }, { path: /api/v1/places }]",
    );
    stack.edit(
      "server/main.go",
      '\n\tprintln("refusing to start, on purpose")\n\tif true {\n\t\tpanic("broken release")\n\t}',
      "",
    );
    stack.edit(
      "server/internal/httpapi/server.go",
      'mux.HandleFunc("GET /api/v1/places"',
      'mux.HandleFunc("GET /api/v1/moved"',
    );
    const moved = await stack.commit("v4.0.0");
    const { code, stdout } = await stack.togather("release", "HEAD", "--version", "v4.0.0");
    const serving = ((await json("status"))["serving"] as { slot: string }).slot;
    const idle = serving === "blue" ? "green" : "blue";
    expect(code, stdout).toBe(exitCodes.rolledBack.code);
    expect(stdout).toMatch(/^gate \w+ +ok/m);
    expect(stdout).toMatch(/^switch +FAILED/m);
    expect(told().at(-1)).toBe("sent-back switch v4.0.0");
    expect(stdout).toMatch(
      /served for [\d.]+ s, and all traffic was sent back: .*\/api\/v1\/places answers 404, expected 200/,
    );
    expect(stdout).toContain(`${idle} (v4.0.0)`);
    expect(stdout).toMatch(new RegExp(`says so again: activeSlot is ${serving}`));
    // The stack file, the state, the host and the router agree.
    expect(file()).toMatch(new RegExp(`activeSlot: ${serving}`));
    expect(await stack.output("activeSlot")).toBe(serving);
    expect((await stack.secureGet("/api/v1/places")).slot).toBe(serving);
    const history = await stack.togather("history");
    expect(history.stdout).toMatch(/^\S+ +rolled back +\w+ +v4\.0\.0/m);
    expect((await stack.togather("rollback", "--dry-run")).stdout).toContain(
      `v4.0.0 (${moved.commit.slice(0, 7)}) is given up`,
    );
  });

  it("does not release again by itself what was sent back, whoever asks", async () => {
    const before = file();
    const refused = await stack.togather("release", "HEAD", "--version", "v4.0.0");
    expect(refused.code, refused.stderr).toBe(exitCodes.config.code);
    expect(refused.stderr).toMatch(
      /v4\.0\.0 \(\w{7}\) was released on this host before, and all traffic was sent back from it at .*\/api\/v1\/places answers 404.*\n.*release HEAD --version v4\.0\.0 --again --stack/,
    );
    expect(file()).toBe(before);
    // A checkout on a runner that never saw the corrected file.
    const serving = ((await json("status"))["serving"] as { slot: string }).slot;
    stack.set({ activeSlot: serving === "blue" ? "green" : "blue" });
    const plain = await stack.run("up");
    expect([plain.ok, plain.output]).toEqual([
      false,
      expect.stringMatching(/v4\.0\.0 .* all traffic was sent back from it at [\s\S]*togather:releaseAgain/),
    ]);
    expect((await stack.secureGet("/api/v1/places")).slot).toBe(serving);
    stack.set({ activeSlot: serving });
    const again = await stack.togather("release", "HEAD", "--version", "v4.0.0", "--again", "--dry-run");
    expect(again.code, `${again.stdout}\n${again.stderr}`).toBe(0);
  });

  it("needs no cleaning up for the next good release", async () => {
    stack.edit(
      "server/internal/httpapi/server.go",
      'mux.HandleFunc("GET /api/v1/moved"',
      'mux.HandleFunc("GET /api/v1/places"',
    );
    await stack.commit("v4.0.1");
    const { code, stdout } = await stack.togather("release", "HEAD", "--version", "v4.0.1");
    expect(code, stdout).toBe(0);
    expect((await json("status"))["serving"]).toMatchObject({ release: { version: "v4.0.1" } });
  });

  it("runs tasks with a release: one that fails before the switch stops it, one after sends traffic back, or warns", async () => {
    const task = (name: string, when: string, word: string, more: object = {}) => ({
      name,
      when,
      command: ["/server", word],
      ...more,
    });
    const check = task("check", "before-switch", "version");
    const after = task("after", "after-switch", "nonsense");
    stack.set({ source: { tasks: [check, task("broken", "before-switch", "nonsense"), after] } });
    stack.edit("server/main.go", "package main", "package main // fifth");
    await stack.commit("v5.0.0");
    const stopped = await stack.togather("release", "HEAD", "--version", "v5.0.0");
    expect(stopped.code, stopped.stdout + stopped.stderr).toBe(exitCodes.task.code);
    expect(stopped.stdout).toMatch(/^task check +ok/m);
    expect(stopped.stdout).toMatch(/^task broken +FAILED/m);
    expect(stopped.stdout + stopped.stderr).toMatch(
      /the task broken ended with exit code 2, after .*before the switch; traffic stays where it is. Its last lines:\n +usage: server/,
    );
    expect(await json("status")).toMatchObject({
      serving: { release: { version: "v4.0.1" } },
      lastDeployment: { status: "failed", failedPhase: "task" },
    });
    expect((await stack.togather("logs")).stdout).toContain("task check: v5.0.0 (commit");

    stack.set({ source: { tasks: [check, after] } });
    const back = await stack.togather("up");
    expect(back.code, back.stdout + back.stderr).toBe(exitCodes.rolledBack.code);
    // It has succeeded in this deployment.
    expect(back.stdout).not.toMatch(/^task check/m);
    expect(back.stdout + back.stderr).toMatch(
      /\(v5\.0\.0\) served for [\d.]+ s, and all traffic was sent back: the task after ended with exit code 2/,
    );
    expect((await json("status"))["serving"]).toMatchObject({ release: { version: "v4.0.1" } });

    stack.set({ source: { tasks: [check, { ...after, onFailure: "warn" }] } });
    const warned = await stack.togather("release", "HEAD", "--version", "v5.0.0", "--again");
    expect(warned.code, warned.stdout + warned.stderr).toBe(0);
    expect((await json("status"))["serving"]).toMatchObject({ release: { version: "v5.0.0" } });
    // On the screen as well: at once, and in short at the end.
    expect(warned.stdout).toMatch(/^WARNING: switch: the task after ended with exit code 2.*after the switch/m);
    expect(warned.stdout.trimEnd().split("\n").slice(-2).join("\n")).toMatch(
      /^with a warning, shown above; in full: .*logs \w+ --stack .*\n {2}switch: the task after ended with exit code 2/,
    );
    expect((await stack.togather("logs")).stdout).toMatch(
      /WARN .*the task after ended with exit code 2.*after the switch/,
    );
    // A rollback runs none of them: v4.0.1 has served.
    const rollback = await stack.togather("rollback");
    expect(rollback.code, rollback.stdout + rollback.stderr).toBe(0);
    expect(rollback.stdout).toMatch(/^task check +ok .*not run: v4\.0\.1 in \w+ has served before/m);
    const { stdout: containers } = await execa("docker", [
      "ps",
      "--all",
      "--quiet",
      `--filter=name=togather-${stack.name}-task`,
    ]);
    expect(containers).toBe("");
  });

  it("goes on as ever behind a balancer that speaks the PROXY protocol", async () => {
    const inspected = ["network", "inspect", "--format={{(index .IPAM.Config 0).Gateway}}", `togather-${stack.name}`];
    const { stdout: gateway } = await execa("docker", inspected);
    const through = (header: string): Promise<string> =>
      new Promise((resolve) => {
        let got = "";
        const socket = connect(stack.ports.http, "127.0.0.1", () =>
          socket.write(`${header}GET /health HTTP/1.1\r\nHost: events.example\r\nConnection: close\r\n\r\n`),
        );
        socket
          .on("data", (data: Buffer) => (got += data.toString()))
          .on("error", () => undefined)
          .on("close", () => {
            resolve(got.split("\r\n")[0] ?? "");
          });
      });
    const visitor = (port: number): Promise<string> => through(`PROXY TCP4 203.0.113.7 192.0.2.1 51201 ${port}\r\n`);
    stack.set({ router: { trustedProxies: [gateway], proxyProtocol: true } });
    const up = await stack.togather("up");
    expect(up.code, up.stdout + up.stderr).toBe(0);
    // To HTTPS, in through the port where the balancer has ended TLS, and nowhere without its header.
    expect([await visitor(80), await visitor(stack.ports.https), await through("")]).toEqual([
      expect.stringMatching(/ 308 /),
      expect.stringMatching(/ 200 /),
      "",
    ]);
    await stack.commit("v6.0.0");
    const release = await stack.togather("release", "HEAD", "--version", "v6.0.0");
    expect(release.code, release.stdout + release.stderr).toBe(0);
    expect(await json("status")).toMatchObject({
      serving: { release: { version: "v6.0.0" }, health: { status: "healthy", version: "v6.0.0" } },
      drift: [],
    });
    const again = await stack.togather("up");
    expect([again.code, again.stdout]).toEqual([0, expect.stringContaining("Nothing to do")]);
    stack.set({ router: {} });
    const back = await stack.togather("up");
    expect(back.code, back.stdout + back.stderr).toBe(0);
    expect(await through("")).toMatch(/ 308 /);
  });

  it("goes back to a release that is in neither slot any more, where its image is kept and its schema is there", async () => {
    stack.set({ source: { tasks: [] } });
    const history = JSON.parse((await stack.togather("history", "--json")).stdout) as {
      id: string;
      status: string;
      version: string;
      commit: string;
    }[];
    const idOf = (version: string): string =>
      history.find((one) => one.version === version && one.status === "succeeded")?.id ?? "";
    const { serving } = (await json("status")) as { serving: { slot: "blue" | "green" } };
    const idle = serving.slot === "blue" ? "green" : "blue";
    // The database has had a migration since v1.0.0 served.
    const text = file();
    const ahead = await stack.togather("rollback", "--to", idOf("v1.0.0"));
    expect([ahead.code, ahead.stderr]).toEqual([
      exitCodes.config.code,
      expect.stringMatching(
        /v1\.0\.0 \(\w{7}\) of \S+ is in neither slot any more, and the database is at schema version 99, and it was last seen to serve with 4: .*Nothing was changed\.\n.*release \w+ --version v1\.0\.0 --no-switch --stack/,
      ) as unknown,
    ]);
    const withDatabase = await stack.togather("rollback", "--to", idOf("v1.0.0"), "--restore-database");
    expect([withDatabase.code, withDatabase.stderr]).toEqual([
      exitCodes.config.code,
      expect.stringMatching(/v1\.0\.0 of \S+ is in neither slot any more: --restore-database/) as unknown,
    ]);
    expect(file()).toBe(text);

    const dry = await stack.togather("rollback", "--to", idOf("v5.0.0"), "--dry-run");
    expect([dry.code, dry.stdout]).toEqual([
      0,
      expect.stringMatching(
        new RegExp(`Rolling back: back to v5\\.0\\.0 .*, which is put into ${idle} again in the place of v4\\.0\\.1`),
      ) as unknown,
    ]);
    const back = await stack.togather("rollback", "--to", idOf("v5.0.0"));
    expect(back.code, `${back.stdout}\n${back.stderr}`).toBe(0);
    expect(back.stdout).toMatch(new RegExp(`^migrate ${idle} +ok .*schema version 99`, "m"));
    expect(await json("status")).toMatchObject({
      serving: { slot: idle, release: { version: "v5.0.0" } },
      slots: { [serving.slot]: { release: { version: "v6.0.0" } } },
      drift: [],
    });

    const fourth = history.find((one) => one.version === "v4.0.1" && one.status === "succeeded");
    await execa("docker", ["image", "rm", "--force", `togather-server:${fourth?.commit ?? ""}`]);
    const gone = await stack.togather("rollback", "--to", fourth?.id ?? "");
    expect([gone.code, gone.stderr]).toEqual([
      exitCodes.config.code,
      expect.stringMatching(
        /v4\.0\.1 .* and its image was removed since .*\n.*release \w+ --version v4\.0\.1 --stack \S+ builds it again/,
      ) as unknown,
    ]);
    expect(await json("status")).toMatchObject({ serving: { release: { version: "v5.0.0" } }, drift: [] });
  });

  it("tells no secret", async () => {
    const outputs = await Promise.all([
      stack.togather("status", "--json"),
      stack.togather("history", "--json"),
      stack.togather("logs", "--json"),
    ]);
    const everything = outputs.map(({ stdout, stderr }) => stdout + stderr).join("\n");
    for (const canary of Object.values<string>({ ...stack.canaries })) expect(everything.includes(canary)).toBe(false);
  });
});
