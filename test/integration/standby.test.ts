import { randomUUID } from "node:crypto";
import { request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startLoad } from "./load.ts";
import { TestStack } from "./stack.ts";

// One deployment whose idle slot is stopped, then removed, then kept: each test starts from what the one before left.
describe("the slot that has served", () => {
  let stack: TestStack;
  let v1: { version: string; commit: string };
  let v2: { version: string; commit: string };
  const feeders = new Set<AbortController>();

  beforeAll(async () => {
    stack = await TestStack.create();
    v1 = await stack.commit("v1.0.0");
    stack.set({ slots: { blue: v1 }, activeSlot: "blue", standby: "stopped" });
  });
  afterAll(async () => {
    for (const feeder of feeders) feeder.abort();
    await stack.remove();
  });

  const container = (slot: string): string => `togather-${stack.name}-${slot}`;

  /** Status, exit code and id of a slot's container. */
  async function state(slot: string): Promise<string> {
    const { stdout, exitCode } = await execa(
      "docker",
      ["inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", container(slot)],
      { reject: false },
    );
    return exitCode === 0 ? stdout : "none";
  }

  async function idOf(slot: string): Promise<string> {
    return (await execa("docker", ["inspect", "--format", "{{.Id}}", container(slot)])).stdout;
  }

  async function serving(): Promise<string | null> {
    return (await fetch(stack.url("/health"))).headers.get("x-togather-slot");
  }

  async function until(what: string, condition: () => Promise<boolean>, seconds = 120): Promise<void> {
    const deadline = Date.now() + seconds * 1000;
    while (!(await condition())) {
      if (Date.now() > deadline) throw new Error(`not within ${seconds} s: ${what}`);
      await sleep(100);
    }
  }

  /** A request that stays open on the slot that serves when it begins: its body comes slowly, until `end`. */
  async function openRequest(): Promise<{
    answer: Promise<{ status: number | undefined; slot: unknown }>;
    end: () => void;
  }> {
    const sent = request({
      host: "127.0.0.1",
      port: stack.ports.http,
      method: "POST",
      path: "/api/v1/events",
      headers: { "content-type": "application/json" },
    });
    const answer = new Promise<{ status: number | undefined; slot: unknown }>((resolve, reject) => {
      sent.on("error", reject);
      sent.on("response", (response) => {
        response.resume();
        response.on("end", () => {
          resolve({ status: response.statusCode, slot: response.headers["x-togather-slot"] });
        });
      });
    });
    sent.write("{");
    const drip = setInterval(() => sent.write(" "), 1_000);
    await sleep(500);
    return {
      answer,
      end() {
        clearInterval(drip);
        sent.end(
          `"id": "${randomUUID()}", "name": "Long", "starts_at": "2030-01-01T10:00:00Z", "ends_at": "2030-01-01T12:00:00Z"}`,
        );
      },
    };
  }

  /** Puts jobs into the queue all the while; tells how many. */
  function feedJobs(): { stop: () => Promise<number> } {
    const feeder = new AbortController();
    feeders.add(feeder);
    let count = 0;
    const loop = (async () => {
      while (!feeder.signal.aborted) {
        await stack.query(
          `INSERT INTO river_job (args, kind, max_attempts, tags) SELECT '{}', 'expire_events', 25, '{fed}' FROM generate_series(1, 5)`,
        );
        count += 5;
        await sleep(200);
      }
    })();
    return {
      async stop() {
        feeder.abort();
        await loop;
        return count;
      },
    };
  }

  it("serves alone at first, with nothing to stop", async () => {
    const up = await stack.run("up");
    expect(up.ok, up.output).toBe(true);
    expect(await serving()).toBe("blue");
    expect(await state("blue")).toBe("running 0");
  });

  it("is stopped once its last request has ended: none is lost, and no job is lost or worked twice", async () => {
    stack.edit("server/main.go", "package main", "package main // second release");
    v2 = await stack.commit("v2.0.0");
    stack.set({ slots: { blue: v1, green: v2 }, activeSlot: "green" });
    const load = startLoad(stack.ports.http);
    const jobs = feedJobs();
    const { answer, end } = await openRequest();
    const running = stack.run("up");
    await until("green serves", async () => (await serving()) === "green");
    await until("only the long request is open on blue", async () => (await openOn("blue")) === 1, 20);
    await until(
      "the deployment is recorded",
      async () => ((await stack.togather("history")).stdout.match(/succeeded/g) ?? []).length === 2,
      30,
    );
    await sleep(2_000);
    expect(await state("blue")).toBe("running 0");
    end();
    expect(await answer).toEqual({ status: 201, slot: "blue" });
    const up = await running;
    const [report, fed] = [await load.stop(), await jobs.stop()];
    expect(up.ok, up.output).toBe(true);
    expect(report.lost).toEqual([]);
    expect(report.slots).toEqual(["blue", "green"]);
    expect(await state("blue")).toBe("exited 0");
    expect(await state("green")).toBe("running 0");
    const left = `SELECT count(*) FROM river_job WHERE tags = '{fed}' AND state <> 'completed'`;
    await until("all jobs are worked", async () => (await stack.query(left)) === "0", 30);
    expect(
      await stack.query(
        "SELECT count(*), max(attempt), max(cardinality(attempted_by)), count(DISTINCT attempted_by) FROM river_job WHERE tags = '{fed}'",
      ),
    ).toBe(`${fed}|1|1|2`);
  });

  /** Requests that the router counts as open on a slot. */
  async function openOn(slot: string): Promise<number> {
    const { stdout } = await execa("docker", [
      "exec",
      container("router"),
      "curl",
      "--silent",
      "--unix-socket",
      "/router/run/control.sock",
      "http://router/counters",
    ]);
    return (JSON.parse(stdout) as Record<string, { open: number }>)[slot]?.open ?? NaN;
  }

  it("stays stopped: nothing to do again, also after a refresh, and status says so", async () => {
    const up = await stack.run("up");
    expect(Object.keys(up.changes), up.output).toEqual(["unchanged"]);
    await stack.pulumi(["refresh", "--yes", "--stack", stack.name]);
    const preview = await stack.run("preview");
    expect(preview.output).not.toMatch(/\d+ to (create|update|replace|delete)/);
    expect(await state("blue")).toBe("exited 0");
    const { stdout } = await stack.togather("status");
    expect(stdout).toMatch(/blue\s+idle\s+v1\.0\.0 \(\w+\)\s+stopped \d+ ?s ago/);
    expect(stdout).toContain("No drift");
  });

  it("is stopped again when a secret makes its container anew, and kept up when it holds what has not served yet", async () => {
    const before = { blue: await idOf("blue"), green: await idOf("green") };
    stack.canaries.JWT_SECRET = `${stack.canaries.JWT_SECRET}rotated`;
    stack.writeSecrets();
    const rotated = await stack.run("up");
    expect(rotated.ok, rotated.output).toBe(true);
    expect([await state("blue"), await state("green"), await idOf("green")]).toEqual([
      "exited 0",
      "running 0",
      before.green,
    ]);
    expect(await idOf("blue")).not.toBe(before.blue);

    const next = await stack.commit("v1.5.0");
    stack.set({ slots: { blue: next, green: v2 } });
    const filled = await stack.run("up");
    expect(filled.ok, filled.output).toBe(true);
    expect([await state("blue"), await serving()]).toEqual(["running 0", "green"]);
    expect(filled.output).toContain("blue has not served yet, and stays up to be looked at");

    stack.set({ slots: { blue: v1, green: v2 } });
    const back = await stack.run("up");
    expect(back.ok, back.output).toBe(true);
    expect(await state("blue")).toBe("exited 0");
    // Its gate is asked again, and lets it be.
    stack.set({ deployment: stack.deployment({ deployment: { health_check_retries: 5 } }) });
    const changed = await stack.run("up");
    expect(changed.ok, changed.output).toBe(true);
    expect([await state("blue"), await state("green")]).toEqual(["exited 0", "running 0"]);
  });

  it("is started and gated again by a rollback; what is cut off after the time limit is said", async () => {
    const before = await idOf("blue");
    stack.set({ activeSlot: "blue", drainTimeout: "1s" });
    const { answer, end } = await openRequest();
    const load = startLoad(stack.ports.http);
    const running = stack.run("up");
    await until("blue serves", async () => (await serving()) === "blue");
    const up = await running;
    end();
    // It never reached the server: its body was not complete.
    const cut = await answer;
    expect([cut.slot, [502, 504].includes(cut.status ?? 0)]).toEqual(["green", true]);
    const report = await load.stop();
    expect(up.ok, up.output).toBe(true);
    expect(up.output).toMatch(/a request is still open on green after 1 s \(togather:drainTimeout\)/);
    expect(report.lost).toEqual([]);
    const { unchanged, ...changes } = up.changes;
    expect(unchanged).toBeGreaterThan(20);
    // In the history, the gate, the switch, the record, the standby.
    expect(changes).toEqual({ updated: 5 });
    expect(await idOf("blue")).toBe(before);
    expect([await state("blue"), await state("green")]).toEqual(["running 0", "exited 0"]);
  });

  it("is removed on request, and made again by the next flip", async () => {
    stack.set({ standby: "removed" });
    const up = await stack.run("up");
    expect(up.ok, up.output).toBe(true);
    expect(await state("green")).toBe("none");
    const again = await stack.run("up");
    expect(Object.keys(again.changes), again.output).toEqual(["unchanged"]);
    expect((await stack.togather("status")).stdout).toContain("No drift");

    // Somebody has tidied up: nothing held on to its image.
    const { stdout: kept } = await execa("docker", [
      "image",
      "ls",
      "--format={{.Repository}}:{{.Tag}}",
      `--filter=reference=togather-kept:${stack.name}-*`,
    ]);
    expect(kept.split("\n")).toHaveLength(2);
    await execa("docker", ["image", "rm", `togather-server:${v2.commit}`, ...kept.split("\n")]);
    stack.set({ activeSlot: "green" });
    const load = startLoad(stack.ports.http);
    const flip = await stack.run("up");
    const report = await load.stop();
    expect(flip.ok, flip.output).toBe(true);
    expect(report.lost).toEqual([]);
    expect(report.slots).toEqual(["blue", "green"]);
    expect([await state("blue"), await state("green")]).toEqual(["none", "running 0"]);
    expect((await execa("docker", ["image", "inspect", `togather-server:${v2.commit}`])).exitCode).toBe(0);
    expect(Object.keys((await stack.run("up")).changes)).toEqual(["unchanged"]);
  });

  it("is not removed when the release after it fails its gate, whatever Pulumi is told to go on with", async () => {
    stack.edit("server/main.go", "package main", 'package main // third release\n\nfunc init() { panic("broken") }\n');
    const broken = await stack.commit("v3.0.0");
    const before = await idOf("green");
    stack.set({ slots: { blue: broken, green: v2 }, activeSlot: "blue" });
    for (const flags of [[], ["--continue-on-error"]]) {
      const up = await stack.run("up", flags);
      expect(up.ok).toBe(false);
      expect([await idOf("green"), await state("green"), await serving()]).toEqual([before, "running 0", "green"]);
    }
    // Given up with `activeSlot` alone: the broken one goes.
    stack.set({ activeSlot: "green", slots: { blue: v1, green: v2 } });
    const up = await stack.run("up");
    expect(up.ok, up.output).toBe(true);
    expect([await idOf("green"), await state("blue")]).toEqual([before, "none"]);
  });

  it("runs again when it is to be kept", async () => {
    stack.set({ standby: "running" });
    const up = await stack.run("up");
    expect(up.ok, up.output).toBe(true);
    expect([await state("blue"), await state("green"), await serving()]).toEqual(["running 0", "running 0", "green"]);
    await execa("docker", ["stop", container("blue")]);
    stack.set({ standby: "stopped" });
    expect((await stack.run("up")).ok).toBe(true);
    expect(await state("blue")).toBe("exited 0");
    stack.set({ standby: "running" });
    expect((await stack.run("up")).ok).toBe(true);
    expect(await state("blue")).toBe("running 0");
  });

  it("can be filled and looked at through the public port before traffic moves", async () => {
    stack.edit(
      "server/main.go",
      'package main // third release\n\nfunc init() { panic("broken") }\n',
      "package main // fourth release\n",
    );
    const v4 = await stack.commit("v4.0.0");
    const filled = await stack.togather("release", v4.commit, "--version", "v4.0.0", "--no-switch");
    expect(filled.code, filled.stderr).toBe(0);
    expect(filled.stdout).toMatch(/blue holds v4\.0\.0, idle/);
    expect(filled.stdout).toContain("traffic stays on green");
    expect(await serving()).toBe("green");

    const { code, stdout, stderr } = await stack.togather("preview-url", "--for", "5m", "--json");
    expect(code, stderr).toBe(0);
    const { url, header, slot, release } = JSON.parse(stdout) as {
      url: string;
      header: { name: string; value: string };
      slot: string;
      release: unknown;
    };
    expect([slot, release]).toEqual(["blue", v4]);
    const looked = await fetch(stack.url("/health"), { headers: { [header.name]: header.value } });
    expect([looked.headers.get("x-togather-slot"), ((await looked.json()) as { version: string }).version]).toEqual([
      "blue",
      "v4.0.0",
    ]);
    const entered = await fetch(url, { redirect: "manual" });
    expect([entered.status, entered.headers.get("set-cookie")]).toEqual([302, expect.stringContaining(header.value)]);
    expect(((await (await fetch(stack.url("/health"))).json()) as { version: string }).version).toBe("v2.0.0");

    // Nobody but the router has the key.
    const key = (await execa("docker", ["exec", container("router"), "cat", "/router/state/preview.key"])).stdout;
    expect(key.length).toBeGreaterThan(40);
    const { stdout: inspected } = await execa("docker", [
      "inspect",
      container("router"),
      container("blue"),
      container("green"),
    ]);
    for (const [what, text] of Object.entries({ state: await stack.state(), inspected, stdout, said: stderr }))
      expect(text, what).not.toContain(key);

    const back = await stack.togather("rollback");
    expect([back.code, back.stderr]).toEqual([2, expect.stringContaining("traffic was not moved to it")]);
    const before = await idOf("blue");
    const moved = await stack.togather("release", v4.commit, "--version", "v4.0.0");
    expect(moved.code, moved.stderr).toBe(0);
    expect([await idOf("blue"), await serving()]).toEqual([before, "blue"]);
    expect((await stack.togather("rollback")).code).toBe(0);
    expect(await serving()).toBe("green");
  });

  it("says what to do when there is nothing to look at", async () => {
    await execa("docker", ["stop", container("blue")]);
    const { code, stderr } = await stack.togather("preview-url");
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/blue is exited: there is nothing to look at\n.*release REF --no-switch/),
    ]);
    const refused = await stack.togather("preview-url", "--for", "soon");
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining("expected a time such as 30s")]);
  });
});
