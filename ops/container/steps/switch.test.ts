import { mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync, existsSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { CommandContext } from "../../contract/context.ts";
import type { SlotName, StepRequest, StepResult } from "../../contract/steps.ts";
import { RolledBackError, StepError } from "../../contract/errors.ts";
import { printsVariable, type Prints } from "../../contract/slot-file.ts";
import { run } from "./switch.ts";

const release = { version: "v1.2.0", commit: "abcdef0123456789abcdef0123456789abcdef01" };

const atOnce = { steps: [], intervalMs: 0, bakeMs: 0, sticky: false };
const checks = [{ path: "/page", status: 200 }];

/** A router as the switch sees it: a control socket, a port, and a volume. A few lines play the part of nginx. */
class FakeRouter {
  readonly volume = mkdtempSync(join(tmpdir(), "togather-switch-"));
  readonly stateFile = join(this.volume, "state", "slot.json");
  memory: SlotName | null = null;
  /** Slots that the control socket was told, in order, each with the file's slot at that moment. */
  readonly told: { slot: SlotName | null; file: string | undefined }[] = [];
  /** The slot that public answers claim, if not the true one. */
  claim: string | undefined;
  /** Number of answers of the public port that are lost before it works. */
  lose = 0;
  /** Requests for /page, and the number of first ones that fail. */
  asked = 0;
  flaky = 0;
  failControl = false;
  /** What leads past maintenance; undefined where that is off. */
  maintenance: string | undefined;
  health = JSON.stringify({ status: "healthy", version: release.version });
  private servers: Server[] = [];
  url = "";

  async start(): Promise<void> {
    mkdirSync(join(this.volume, "state"));
    mkdirSync(join(this.volume, "run"));
    const control = createServer((request, response) => {
      let body = "";
      request.on("data", (chunk: Buffer) => (body += chunk.toString()));
      request.on("end", () => {
        if (request.url === "/preview") {
          response.end(JSON.stringify({ token: this.maintenance, expires: 1, for: JSON.parse(body) as unknown }));
          return;
        }
        if (request.method !== "GET") {
          if (this.failControl) {
            response.writeHead(500).end("broken");
            return;
          }
          this.memory = request.method === "DELETE" ? null : (JSON.parse(body) as { slot: SlotName }).slot;
          this.told.push({ slot: this.memory, file: this.state()?.slot });
        }
        response.end(JSON.stringify({ slot: this.memory }));
      });
    });
    const traffic = createServer((request, response) => {
      if (this.maintenance !== undefined && request.headers["x-togather-preview"] !== this.maintenance) {
        response.writeHead(503, { "X-Togather-Slot": "maintenance" }).end();
        return;
      }
      if (this.told.length > 0 && this.lose > 0) {
        this.lose -= 1;
        request.socket.destroy();
        return;
      }
      if (request.url === "/page") {
        this.asked += 1;
        if (this.flaky-- > 0) {
          response.writeHead(500, { "X-Togather-Slot": this.memory ?? "" }).end();
          return;
        }
      }
      response.setHeader("X-Togather-Slot", this.claim ?? this.memory ?? "");
      response.writeHead(this.memory === null ? 503 : 200).end(this.health);
    });
    await new Promise<void>((resolve) => control.listen(join(this.volume, "run", "control.sock"), resolve));
    await new Promise<void>((resolve) => traffic.listen(0, "127.0.0.1", resolve));
    this.servers = [control, traffic];
    this.url = `http://127.0.0.1:${(traffic.address() as AddressInfo).port}`;
  }

  stop(): void {
    for (const server of this.servers) {
      server.close();
      server.closeAllConnections();
    }
    rmSync(this.volume, { recursive: true, force: true });
  }

  state(): { slot: string; changedAt: string } | undefined {
    return existsSync(this.stateFile)
      ? (JSON.parse(readFileSync(this.stateFile, "utf8")) as { slot: string; changedAt: string })
      : undefined;
  }

  /** The state that an earlier switch leaves. */
  serve(slot: SlotName): void {
    this.memory = slot;
    writeFileSync(this.stateFile, JSON.stringify({ slot, changedAt: "2026-01-01T00:00:00.000Z" }));
  }
}

/** The slot itself, asked directly. */
let slotHealth: { status: number; body: string };
let slot: Server;
let slotUrl: string;
let router: FakeRouter;
const said: string[] = [];
/** A log that can no longer be written. */
let logIsFull = false;

beforeEach(async () => {
  router = new FakeRouter();
  await router.start();
  slotHealth = { status: 200, body: JSON.stringify({ status: "healthy", version: release.version }) };
  slot = createServer((_, response) => response.writeHead(slotHealth.status).end(slotHealth.body));
  await new Promise<void>((resolve) => slot.listen(0, "127.0.0.1", resolve));
  slotUrl = `http://127.0.0.1:${(slot.address() as AddressInfo).port}`;
  said.length = 0;
  logIsFull = false;
});

afterEach(() => {
  router.stop();
  slot.close();
  slot.closeAllConnections();
});

function switchTo(
  activeSlot: SlotName,
  signal = new AbortController().signal,
  change: Partial<StepRequest<"switch">> = {},
  prints: Prints = {},
): Promise<StepResult<"switch">> {
  const request: StepRequest<"switch"> = {
    contract: 1,
    name: "prod",
    environment: "production",
    stateLocation: "/unused",
    logLocation: "/unused",
    network: "unused",
    activeSlot,
    release,
    volume: "unused",
    routerContainerId: "unused",
    slotUrl,
    routerUrl: router.url,
    healthPath: "/health",
    checks: [],
    rollout: atOnce,
    ...change,
  };
  const say = (message: string): void => void said.push(message);
  const warn = (message: string): void => {
    if (logIsFull) throw Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
    say(message);
  };
  const context: CommandContext = {
    log: { debug: () => undefined, info: say, warn, error: say, success: say },
    signal,
    env: { [printsVariable]: JSON.stringify(prints) },
    payload: () => Promise.resolve(Buffer.alloc(0)),
    paths: { state: "/unused", logs: "/unused", backups: "/unused", router: router.volume },
    openLog: () => {
      throw new Error("a switch opens no log");
    },
    ask: () => Promise.reject(new Error("this switch has no tasks")),
  };
  return run(request, context);
}

describe("switch", () => {
  it("writes the file before nginx is told", async () => {
    router.serve("blue");
    expect(await switchTo("green")).toMatchObject({ from: "blue", to: "green" });
    expect(router.told).toEqual([{ slot: "green", file: "green" }]);
    expect(router.state()?.slot).toBe("green");
  });

  it("takes the first slot of all", async () => {
    expect(await switchTo("blue")).toMatchObject({ from: null, to: "blue" });
    expect(said.at(-1)).toContain("the first slot to serve");
  });

  it("changes nothing when the slot serves already, and keeps the time since when", async () => {
    router.serve("blue");
    expect(await switchTo("blue")).toMatchObject({ from: "blue", to: "blue", switchedAt: "2026-01-01T00:00:00.000Z" });
    expect(router.told).toEqual([]);
  });

  it("settles what a crash between file and nginx left", async () => {
    router.serve("blue");
    writeFileSync(router.stateFile, JSON.stringify({ slot: "green", changedAt: "2026-01-02T00:00:00.000Z" }));
    expect(await switchTo("green")).toMatchObject({ from: "blue", to: "green" });
    expect(router.memory).toBe("green");
  });

  it("replaces a damaged file", async () => {
    router.memory = "blue";
    writeFileSync(router.stateFile, "{");
    expect(await switchTo("green")).toMatchObject({ from: "blue", to: "green" });
    expect(router.state()?.slot).toBe("green");
  });

  it("knows the release by its commit, in the server's own shape", async () => {
    router.serve("blue");
    slotHealth.body = router.health = JSON.stringify({
      status: "degraded",
      version: "dev",
      git_commit: "abcdef0",
      checks: {},
      timestamp: "",
    });
    expect(await switchTo("green")).toMatchObject({ to: "green" });
  });

  it.each([
    [503, JSON.stringify({ status: "unhealthy", version: release.version }), /its health endpoint answers 503/],
    [200, JSON.stringify({ status: "healthy", version: "v1.1.0" }), /it is v1.1.0, not v1.2.0/],
    [200, "<html>", /not with a known health document/],
  ])("leaves a slot alone that answers %d %s", async (status, body, reason) => {
    router.serve("blue");
    slotHealth = { status, body };
    await expect(switchTo("green")).rejects.toThrow(reason);
    expect(router.told).toEqual([]);
    expect(router.state()?.slot).toBe("blue");
  });

  it("asks again when answers are lost while it confirms", async () => {
    router.serve("blue");
    router.lose = 3;
    expect(await switchTo("green")).toMatchObject({ to: "green" });
  });

  it("puts both back when the router says otherwise", async () => {
    router.serve("blue");
    router.claim = "blue";
    const failure = switchTo("green");
    await expect(failure).rejects.toThrow(
      "the switch to green was undone: a request went to blue. Traffic is still on blue",
    );
    await expect(failure).rejects.toBeInstanceOf(StepError);
    expect(router.told.map(({ slot: told }) => told)).toEqual(["green", "blue"]);
    expect(router.state()).toEqual({ slot: "blue", changedAt: "2026-01-01T00:00:00.000Z" });
  });

  it("puts both back when another release answers through the router", async () => {
    router.serve("blue");
    router.health = JSON.stringify({ status: "healthy", version: "v0.9.0" });
    await expect(switchTo("green")).rejects.toThrow(/it is v0.9.0, not v1.2.0 .* Traffic is still on blue/);
    expect(router.memory).toBe("blue");
  });

  it("goes back to no slot at all when the first switch fails", async () => {
    router.claim = "";
    await expect(switchTo("blue")).rejects.toThrow("a request went to no slot. No slot serves, as before");
    expect(router.memory).toBeNull();
    expect(router.state()).toBeUndefined();
  });

  it("says so when it can't be undone", async () => {
    router.serve("blue");
    router.failControl = true;
    await expect(switchTo("green")).rejects.toThrow(
      /could not be undone: control socket: the control socket answers 500: broken. The router may be on either slot/,
    );
    expect(router.state()?.slot).toBe("blue");
  });

  it("is confirmed and checked past maintenance, and says that it is on", async () => {
    router.maintenance = "v1.serving.1.x";
    router.serve("blue");
    const checks = [{ path: "/page", status: 200 }];
    expect(await switchTo("green", undefined, { checks })).toMatchObject({ from: "blue", to: "green" });
    expect(router.asked).toBe(3);
    expect(said.filter((line) => line.startsWith("maintenance is on: green was checked past it"))).toHaveLength(1);
    // What another slot answers, or an answer that is wrong, is found all the same.
    router.claim = "green";
    await expect(switchTo("blue")).rejects.toThrow(/a request went to green/);
  });

  it("asks the checks three times in a row through the router", async () => {
    router.serve("blue");
    router.flaky = 2;
    expect(await switchTo("green", undefined, { checks })).toMatchObject({ to: "green" });
    expect(router.asked).toBe(5);
    expect(said.at(-1)).toContain("/page 200");
  });

  it("sends traffic back when a check fails, and stops asking when it is stopped", async () => {
    router.serve("blue");
    const failing = switchTo("green", undefined, { checks: [{ path: "/page", status: 204 }] });
    await expect(failing).rejects.toThrow(
      /green \(v1.2.0\) served for 1\d\.\d s, and all traffic was sent back: .*: \/page answers 200, expected 204\. blue serves again/,
    );
    await expect(failing).rejects.toBeInstanceOf(RolledBackError);
    expect(router.memory).toBe("blue");
    // It is remembered, and is not released again by itself.
    const remembered = {
      slot: "blue",
      changedAt: "2026-01-01T00:00:00.000Z",
      sentBack: [{ ...release, why: expect.stringContaining("/page answers 200, expected 204") as unknown }],
    };
    expect(router.state()).toMatchObject(remembered);
    const controller = new AbortController();
    const stopped = switchTo("green", controller.signal, { checks: [{ path: "/page", status: 204 }] });
    setTimeout(() => {
      controller.abort(new StepError("stopped by SIGTERM"));
    }, 500);
    await expect(stopped).rejects.toThrow(/sent back: stopped by SIGTERM\. blue serves again/);
    expect(router.state()).toMatchObject({ ...remembered, sentBack: [{}] });
    // Once it has kept all traffic, it is like any other release.
    await switchTo("green");
    expect(router.state()).toMatchObject({ slot: "green", served: { green: release }, sentBack: [] });
  }, 20_000);

  it("does not ask on the way back to a release that served", async () => {
    router.serve("blue");
    await switchTo("green");
    await switchTo("blue", undefined, { release: { ...release, commit: "b".repeat(40) } });
    const never = [{ path: "/page", status: 204 }];
    expect(await switchTo("green", undefined, { checks: never })).toMatchObject({ to: "green" });
    expect(router.asked).toBe(0);
  });

  it("asks again where the container is another one of the same release", async () => {
    router.serve("blue");
    await switchTo("green", undefined, {}, { blue: "b1", green: "g1" });
    await switchTo("blue", undefined, { release: { ...release, commit: "b".repeat(40) } }, { blue: "b1", green: "g1" });
    const never = [{ path: "/page", status: 204 }];
    // With other settings or secrets.
    const before = readFileSync(router.stateFile, "utf8");
    await expect(
      switchTo("green", AbortSignal.timeout(800), { checks: never }, { blue: "b1", green: "g2" }),
    ).rejects.toThrow(/all traffic was sent back/);
    expect([router.memory, readFileSync(router.stateFile, "utf8")]).toEqual(["blue", before]);
    expect(await switchTo("green", undefined, { checks: never }, { blue: "b1", green: "g1" })).toMatchObject({
      to: "green",
    });
  });

  it("makes up for a trial that was cut short, and goes back where it fails then", async () => {
    // A step was killed while it watched green: green has all traffic, and has not proved itself.
    const cut = {
      slot: "green",
      changedAt: "2026-01-02T00:00:00.000Z",
      served: { blue: { ...release, commit: "b".repeat(40) } },
      proved: { blue: "b1" },
    };
    const prints = { blue: "b1", green: "g1" };
    router.memory = "green";
    writeFileSync(router.stateFile, JSON.stringify(cut));
    await expect(
      switchTo("green", AbortSignal.timeout(800), { checks: [{ path: "/page", status: 204 }] }, prints),
    ).rejects.toThrow(/all traffic was sent back: .*blue serves again/);
    expect([router.memory, router.state()?.slot]).toEqual(["blue", "blue"]);

    router.memory = "green";
    writeFileSync(router.stateFile, JSON.stringify(cut));
    // The container to go back to has been replaced.
    await expect(
      switchTo(
        "green",
        AbortSignal.timeout(800),
        { checks: [{ path: "/page", status: 204 }] },
        { ...prints, blue: "b2" },
      ),
    ).rejects.toThrow(/green serves, but not as it should/);
    expect(router.memory).toBe("green");
    expect(await switchTo("green", undefined, { checks }, prints)).toMatchObject({ from: "green", to: "green" });
    expect(router.state()).toMatchObject({
      slot: "green",
      changedAt: cut.changedAt,
      served: { green: release },
      proved: prints,
    });
  });

  it("goes back before a word is said about it, which may fail", async () => {
    router.serve("blue");
    router.claim = "blue";
    logIsFull = true;
    await expect(switchTo("green")).rejects.toThrow("no space left on device");
    expect([router.memory, router.state()?.slot]).toEqual(["blue", "blue"]);
  });

  it("changes nothing when the checks fail on the slot that serves already", async () => {
    router.serve("blue");
    router.flaky = 1000;
    const failure = switchTo("blue", AbortSignal.timeout(800), { checks });
    await expect(failure).rejects.toThrow(/blue serves, but not as it should: .* Nothing was changed/);
    await expect(failure).rejects.not.toBeInstanceOf(RolledBackError);
    expect(router.told).toEqual([]);
  });

  it("stops before the change, never in its middle", async () => {
    router.serve("blue");
    const controller = new AbortController();
    controller.abort(new StepError("stopped by SIGINT"));
    await expect(switchTo("green", controller.signal)).rejects.toThrow("stopped by SIGINT");
    expect(router.told).toEqual([]);
  });
});
