/**
 * The router with real containers: nginx as `ops router` configures it, two small upstreams, and `ops switch` as the
 * stack runs it. All traffic goes to 127.0.0.1.
 */
import { createHmac, randomBytes, randomUUID } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { Agent, request as httpRequest, type IncomingHttpHeaders, type RequestOptions } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { connect } from "node:net";
import { connect as tlsConnect } from "node:tls";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { generate } from "selfsigned";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { internalPort, renderNginxFiles, type NginxOptions } from "../../components/nginx/config.ts";
import { askMaintenance, setMaintenance } from "../../cli/host/maintenance.ts";
import { build } from "../../ops/client/build.ts";
import { run as runRouter } from "../../ops/client/router.ts";
import { containerPaths, type StepContext } from "../../ops/contract/context.ts";
import type { SlotName, StepRequest, StepResult } from "../../ops/contract/steps.ts";
import { lookAtHost } from "../../ops/host/serving-slot.ts";
import { bundledImageDigest, bundledImageTag } from "../../ops/image.ts";
import { eventually } from "../step-harness.ts";
import { freePort, freeSubnet } from "./addresses.ts";

const project = join(import.meta.dirname, "../..");
const name = `test-router-${randomBytes(4).toString("hex")}`;
const prefix = `togather-${name}`;
const subnet = await freeSubnet();
const address = { router: `${subnet}.2`, blue: `${subnet}.10`, green: `${subnet}.11` };
const directories = mkdtempSync(join(tmpdir(), `${prefix}-`));
const releases = {
  blue: { version: "v1.0.0", commit: "a".repeat(40) },
  green: { version: "v1.1.0", commit: "b".repeat(40) },
};
let port = 0;
let tlsPort = 0;

/** An upstream: names itself, records posted ids, streams, and accepts WebSockets. */
const upstreamProgram = `
  const { createServer } = require("node:http");
  const seen = [];
  const { SLOT } = process.env;
  let { HEALTH } = process.env;
  let [failing, hanging, refusing] = [0, 0, 0];
  const server = createServer({ keepAliveTimeout: 120_000 }, (request, response) => {
    response.setHeader("X-Togather-Slot", "claimed by the server");
    if (request.url === "/health") return response.end(HEALTH);
    if (request.url.startsWith("/trouble?")) {
      const wanted = new URL(request.url, "http://slot").searchParams;
      if (wanted.has("failing")) failing = Number(wanted.get("failing"));
      if (wanted.has("hanging")) hanging = Number(wanted.get("hanging"));
      if (wanted.has("refusing")) refusing = Number(wanted.get("refusing"));
      if (wanted.has("status")) HEALTH = JSON.stringify({ ...JSON.parse(HEALTH), status: wanted.get("status") });
      if (wanted.has("exit")) setTimeout(() => process.exit(1), Number(wanted.get("exit")));
      if (wanted.has("version")) HEALTH = JSON.stringify({ ...JSON.parse(HEALTH), version: wanted.get("version") });
      return response.end();
    }
    if (request.url === "/page" && Math.random() < hanging) return;
    if (request.url === "/page" && Math.random() < refusing) return response.writeHead(429).end();
    if (request.url === "/page") return response.writeHead(Math.random() < failing ? 500 : 200).end(SLOT);
    if (request.url === "/seen") return response.end(JSON.stringify(seen));
    if (request.url === "/headers") return response.end(JSON.stringify({ slot: SLOT, ...request.headers }));
    if (request.url.split("?")[0] === "/silent") return;
    if (request.url === "/large-headers") return response.writeHead(200, { "X-Large": "x".repeat(12_000) }).end();
    if (request.url === "/cached") return response.writeHead(200, { "Cache-Control": "public, max-age=60" }).end();
    if (request.url === "/slow") return setTimeout(() => response.end(SLOT), 1500);
    if (request.url === "/events") {
      response.writeHead(200, { "Content-Type": "text/event-stream", "X-Accel-Buffering": "no" });
      response.write("data: first\\n\\n");
      return setTimeout(() => response.end("data: last\\n\\n"), 1000);
    }
    if (request.url === "/refuse") return response.writeHead(413, { Connection: "close" }).end("too much for " + SLOT);
    if (request.url === "/refuse-later") return request.once("data", () => response.writeHead(401, { Connection: "close" }).end("not you"));
    if (request.method !== "POST") return response.writeHead(404).end(JSON.stringify({ upstream: SLOT, method: request.method, url: request.url }));
    let body = "";
    request.on("data", (chunk) => (body += chunk));
    request.on("end", () => { seen.push(body); response.writeHead(201).end(SLOT); });
  });
  server.on("upgrade", (request, socket) => {
    socket.write("HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n");
    socket.on("data", (data) => socket.write(SLOT + ":" + data));
    socket.on("error", () => undefined);
  });
  server.listen(8080);
  process.on("SIGTERM", () => process.exit());
`;
/** Both shapes that a server's health can have. */
const health = {
  blue: JSON.stringify({
    status: "healthy",
    version: releases.blue.version,
    database: "connected",
    migrations: "up-to-date",
    jobs: "operational",
    uptime: 1,
  }),
  green: JSON.stringify({
    status: "degraded",
    version: "unknown",
    git_commit: releases.green.commit.slice(0, 8),
    checks: { database: { status: "pass" } },
    timestamp: "2026-01-28T14:30:22Z",
  }),
};

const common = { contract: 1, name, environment: "staging" } as const;
const warnings: string[] = [];
const quiet = (): void => undefined;
const context: StepContext = {
  log: {
    debug: quiet,
    info: quiet,
    success: quiet,
    warn: (message) => warnings.push(message),
    error: (message) => warnings.push(message),
  },
  signal: new AbortController().signal,
  env: process.env,
  payload: () => Promise.resolve(Buffer.alloc(0)),
  paths: containerPaths,
};

async function docker(...args: string[]): Promise<string> {
  return (await execa("docker", args)).stdout;
}

function inRouter(...command: string[]): Promise<string> {
  return docker("exec", `${prefix}-router`, ...command);
}

async function control(method: string, body?: string): Promise<{ status: number; body: unknown }> {
  const output = await inRouter(
    "curl",
    "--silent",
    "--unix-socket",
    "/router/run/control.sock",
    "--request",
    method,
    ...(body === undefined ? [] : ["--data", body]),
    "--write-out",
    "%{http_code}",
    "http://router/slot",
  );
  return { status: Number(output.slice(-3)), body: JSON.parse(output.slice(0, -3)) };
}

async function stateFile(): Promise<unknown> {
  return JSON.parse(await inRouter("cat", "/router/state/slot.json"));
}

function configure(
  options: Partial<NginxOptions> = {},
  env: NodeJS.ProcessEnv = {},
  change = (text: string): string => text,
): Promise<StepResult<"router">> {
  const files = renderNginxFiles({
    slots: { blue: `${address.blue}:8080`, green: `${address.green}:8080` },
    tls: false,
    ...options,
  });
  files["nginx.conf"] = change(files["nginx.conf"] ?? "");
  const request: StepRequest<"router"> = {
    ...common,
    image: bundledImageTag("nginx"),
    volume: `${prefix}-files`,
    containerName: `${prefix}-router`,
    files,
  };
  return runRouter(request, { ...context, env: { ...process.env, ...env } });
}

const atOnce = { steps: [], intervalMs: 0, bakeMs: 0, sticky: false };

function requestFor(activeSlot: SlotName, change: Partial<StepRequest<"switch">> = {}): StepRequest<"switch"> {
  return {
    ...common,
    activeSlot,
    stateLocation: join(directories, "state"),
    logLocation: join(directories, "logs"),
    network: prefix,
    release: releases[activeSlot],
    volume: `${prefix}-files`,
    routerContainerId: "",
    slotUrl: `http://${address[activeSlot]}:8080`,
    routerUrl: `http://${address.router}:8080`,
    healthPath: "/health",
    checks: [],
    rollout: atOnce,
    ...change,
  };
}

/** `ops switch` as the stack runs it. */
async function switchTo(
  activeSlot: SlotName,
  change: Partial<StepRequest<"switch">> = {},
): Promise<StepResult<"switch">> {
  const request = requestFor(activeSlot, change);
  const { exitCode, stdout, stderr } = await execa(process.execPath, [join(project, "ops/main.ts"), "switch"], {
    env: { TOGATHER_REQUEST: JSON.stringify(request) },
    reject: false,
  });
  if (exitCode !== 0) throw new Error(`exit code ${exitCode}: ${stderr}`);
  return JSON.parse(stdout) as StepResult<"switch">;
}

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

function ask(path: string, options: RequestOptions & { body?: string; secure?: boolean } = {}): Promise<Answer> {
  const { body, secure = false, ...rest } = options;
  return new Promise((resolve, reject) => {
    const send = secure ? httpsRequest : httpRequest;
    const sent = send(
      {
        host: "127.0.0.1",
        port: secure ? tlsPort : port,
        path,
        signal: AbortSignal.timeout(10_000),
        ...rest,
        ...(secure ? { rejectUnauthorized: false } : {}),
      },
      (response) => {
        let text = "";
        response.on("data", (chunk: Buffer) => (text += chunk.toString()));
        response.on("error", reject);
        response.on("end", () => {
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text });
        });
      },
    );
    sent.on("error", reject);
    sent.end(body);
  });
}

async function untilRouterAnswers(): Promise<Answer> {
  for (let attempt = 0; ; attempt++) {
    try {
      // Docker's proxy may accept a connection for a container that is not there yet.
      return await ask("/health", { signal: AbortSignal.timeout(2_000) });
    } catch (error) {
      if (attempt > 50) throw error;
      await sleep(100);
    }
  }
}

/** Clients that POST over keep-alive connections and never retry. The pause leaves the machine something for the rest. */
function startPosting(clients: number): () => Promise<{ sent: string[]; lost: string[]; slots: Set<string> }> {
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  const sent: string[] = [];
  const lost: string[] = [];
  const slots = new Set<string>();
  let running = true;
  const loops = Array.from({ length: clients }, async () => {
    while (running && sent.length < 200_000) {
      const id = randomUUID();
      sent.push(id);
      try {
        const answer = await ask("/", { agent, method: "POST", body: id });
        if (answer.status !== 201) lost.push(`${answer.status} ${answer.body}`);
        // The router's header must name the slot that answered.
        else if (answer.headers["x-togather-slot"] !== answer.body)
          lost.push(`${answer.body} answered as ${String(answer.headers["x-togather-slot"])}`);
        else slots.add(answer.body);
      } catch (error) {
        lost.push(String(error));
      }
      await sleep(5);
    }
  });
  return async () => {
    running = false;
    await Promise.all(loops);
    agent.destroy();
    return { sent, lost, slots };
  };
}

/** Puts a server into a slot, in the place of the one that is there. */
async function startSlot(slot: SlotName, answer: string): Promise<void> {
  await execa("docker", ["rm", "--force", `${prefix}-${slot}`], { reject: false });
  await docker(
    "run",
    "--detach",
    "--init",
    "--name",
    `${prefix}-${slot}`,
    "--network",
    prefix,
    "--ip",
    address[slot],
    "--env",
    `SLOT=${slot}`,
    "--env",
    `HEALTH=${answer}`,
    "--entrypoint",
    "node",
    bundledImageTag("ops"),
    "-e",
    upstreamProgram,
  );
}

/** Tells a slot's server directly how to misbehave. */
async function trouble(slot: SlotName, what: string): Promise<void> {
  await docker("exec", `${prefix}-${slot}`, "node", "-e", `fetch("http://127.0.0.1:8080/trouble?${what}")`);
}

/** Clients that GET a page over keep-alive connections, about 100 times a second each. */
function startAsking(clients = 4): () => Promise<Record<string, { ok: number; failed: number }>> {
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  const bySlot: Record<string, { ok: number; failed: number }> = {};
  let running = true;
  const loops = Array.from({ length: clients }, async () => {
    while (running) {
      const { status, headers } = await ask("/page", { agent }).catch((): Pick<Answer, "status" | "headers"> => ({
        status: 0,
        headers: {},
      }));
      const slot = (bySlot[String(headers["x-togather-slot"])] ??= { ok: 0, failed: 0 });
      slot[status === 200 ? "ok" : "failed"] += 1;
      await sleep(10);
    }
  });
  return async () => {
    running = false;
    await Promise.all(loops);
    agent.destroy();
    return bySlot;
  };
}

/** Ids that the upstreams got, each as often as it came. */
async function seenIds(): Promise<string[]> {
  const lists = await Promise.all(
    (["blue", "green"] as const).map(
      async (slot) =>
        JSON.parse(
          await docker(
            "exec",
            `${prefix}-${slot}`,
            "node",
            "-e",
            'fetch("http://127.0.0.1:8080/seen").then(async (r) => console.log(await r.text()))',
          ),
        ) as string[],
    ),
  );
  return lists.flat();
}

beforeAll(async () => {
  [port, tlsPort] = [await freePort(), await freePort()];
  for (const image of ["nginx", "ops"] as const) {
    await build(
      {
        ...common,
        source: { kind: "bundled", image, digest: bundledImageDigest(image) },
        dockerfile: "Dockerfile",
        tag: bundledImageTag(image),
      },
      context,
    );
  }
  await docker("network", "create", "--subnet", `${subnet}.0/24`, prefix);
  await docker("volume", "create", `${prefix}-files`);
  for (const slot of ["blue", "green"] as const) await startSlot(slot, health[slot]);
});

afterAll(async () => {
  await execa("docker", ["rm", "--force", "--volumes", `${prefix}-router`, `${prefix}-blue`, `${prefix}-green`], {
    reject: false,
  });
  await execa("docker", ["volume", "rm", `${prefix}-files`], { reject: false });
  await execa("docker", ["network", "rm", prefix], { reject: false });
  rmSync(directories, { recursive: true, force: true });
});

// In order: each test finds what the one before it left.
describe("router", () => {
  it("is configured before its container exists, and answers 503 until the first switch", async () => {
    expect(await configure()).toMatchObject({ reloaded: false });
    const id = await docker(
      ...[
        "run",
        "--detach",
        "--name",
        `${prefix}-router`,
        "--network",
        prefix,
        "--ip",
        address.router,
        "--volume",
        `${prefix}-files:/router`,
        "--security-opt",
        "no-new-privileges:true",
      ],
      ...["--publish", `127.0.0.1:${port}:8080`, "--publish", `127.0.0.1:${tlsPort}:8443`, bundledImageTag("nginx")],
    );
    expect(id).toMatch(/^[0-9a-f]{64}$/);
    const answer = await untilRouterAnswers();
    expect(answer).toMatchObject({ status: 503, headers: { "content-type": "application/json" } });
    expect(JSON.parse(answer.body)).toMatchObject({
      error: "service_unavailable",
      request_id: answer.headers["x-request-id"],
    });
    expect(answer.headers["server"]).toBe("nginx");
    expect(await control("GET")).toEqual({ status: 200, body: { slot: null } });
    expect((await execa("docker", ["logs", `${prefix}-router`])).stderr).toContain("togather: no slot is active");
  });

  it("leaves a slot alone that is another release, or does not answer", async () => {
    await expect(switchTo("blue", { release: { version: "v9.9.9", commit: "c".repeat(40) } })).rejects.toThrow(
      /blue can't take over .* it is v1.0.0, not v9.9.9/,
    );
    await expect(switchTo("blue", { slotUrl: `http://${address.blue}:9` })).rejects.toThrow(
      /blue can't take over .*ECONNREFUSED/,
    );
    expect(await control("GET")).toEqual({ status: 200, body: { slot: null } });
  });

  it("takes the first slot, and confirms it again when asked twice", async () => {
    expect(await switchTo("blue")).toMatchObject({ from: null, to: "blue" });
    expect(await ask("/health")).toMatchObject({
      status: 200,
      body: health.blue,
      headers: { "x-togather-slot": "blue" },
    });
    const state = await stateFile();
    expect(state).toMatchObject({ slot: "blue" });
    expect(await switchTo("blue")).toMatchObject({
      from: "blue",
      to: "blue",
      switchedAt: (state as { changedAt: string }).changedAt,
    });
    expect(await stateFile()).toEqual(state);
  });

  it("moves 20 times under load that never retries, and loses and repeats nothing", async () => {
    const stop = startPosting(8);
    const durations: number[] = [];
    try {
      for (let index = 0; index < 20; index++)
        durations.push((await switchTo(index % 2 === 0 ? "green" : "blue")).durationMs);
    } finally {
      await stop();
    }
    const { sent, lost, slots } = await stop();
    const seen = await seenIds();
    console.log(
      `20 switches under load: ${sent.length} requests, ${lost.length} lost, ${seen.length - new Set(seen).size} twice; a switch takes ${durations.sort((a, b) => a - b)[10]} ms (median)`,
    );
    expect(lost).toEqual([]);
    expect([...slots].sort()).toEqual(["blue", "green"]);
    expect(seen).toHaveLength(sent.length);
    expect(new Set(seen).size).toBe(sent.length);
  });

  it("moves connections of its own workers at once, one write at a time", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    expect((await ask("/headers", { agent })).headers["x-togather-slot"]).toBe("blue");
    expect(await control("PUT", '{"slot":"green"}')).toEqual({ status: 200, body: { from: "blue", to: "green" } });
    expect((await ask("/headers", { agent })).headers["x-togather-slot"]).toBe("green");
    for (const body of ['{"slot":"red"}', '{"slot":null}', "blue", ""])
      expect((await control("PUT", body)).status).toBe(400);
    expect((await control("POST", '{"slot":"blue"}')).status).toBe(405);
    expect(await control("PUT", '{"slot":"blue"}')).toMatchObject({ body: { from: "green" } });
    agent.destroy();
  });

  it("has no control on its public port", async () => {
    for (const path of ["/slot", "/configuration", "/-/router"]) {
      const answer = await ask(path, { method: "PUT", body: '{"slot":"green"}' });
      expect(JSON.parse(answer.body)).toEqual({ upstream: "blue", method: "PUT", url: path });
    }
    expect(await control("GET")).toMatchObject({ body: { slot: "blue" } });
  });

  it("passes on who asks, and an id for the request, but no claims", async () => {
    const plain = JSON.parse((await ask("/headers", { headers: { host: "events.example:8443" } })).body) as Record<
      string,
      string
    >;
    expect(plain).toMatchObject({
      host: "events.example:8443",
      "x-forwarded-host": "events.example:8443",
      "x-forwarded-proto": "http",
    });
    expect(plain["x-request-id"]).toMatch(/^[0-9a-f]{32}$/);
    expect(plain["connection"]).not.toBe("close");
    const claimed = await ask("/headers", {
      headers: { "x-request-id": "caller-1", "x-forwarded-for": "1.2.3.4", upgrade: "h2c", connection: "upgrade" },
    });
    const claims = JSON.parse(claimed.body) as Record<string, string>;
    expect(claims["x-request-id"]).toBe("caller-1");
    expect(claimed.headers["x-request-id"]).toBe("caller-1");
    expect(claims["x-forwarded-for"]).toBe(plain["x-forwarded-for"]);
    expect(claims["x-forwarded-for"]).not.toContain("1.2.3.4");
    expect(claims["upgrade"]).toBeUndefined();
    // Each is what some framework believes about the caller's address, scheme, host or path.
    const believed = [
      ...[
        "forwarded",
        "true-client-ip",
        "cf-connecting-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "fastly-client-ip",
        "fly-client-ip",
        "client-ip",
      ],
      ...[
        "x-forwarded-port",
        "x-forwarded-ssl",
        "x-forwarded-scheme",
        "x-forwarded-protocol",
        "x-url-scheme",
        "front-end-https",
      ],
      ...[
        "x-original-url",
        "x-original-uri",
        "x-rewrite-url",
        "x-forwarded-prefix",
        "x-forwarded-uri",
        "x-original-host",
        "x-host",
        "proxy",
      ],
      ...[
        "x-envoy-original-path",
        "x-envoy-original-host",
        "x-envoy-external-address",
        "x-vercel-forwarded-for",
        "cloudfront-viewer-address",
        "x-real-client-ip",
        "x-true-client-ip",
        "remote-addr",
        "x-client-port",
        "x-original-scheme",
        "x-forwarded-https",
        "x-arr-ssl",
        "x-forwarded-context",
        "x-forwarded-server",
        "x-replaced-path",
        "x-forwarded-tls-client-cert",
        "x-sendfile-type",
        "x-accel-mapping",
        // Some servers take these for the same.
        "x_forwarded_for",
        "x_original_url",
        "true_client_ip",
        "x.forwarded.for",
      ],
    ];
    const told = JSON.parse(
      (
        await ask("/headers", {
          headers: { ...Object.fromEntries(believed.map((header) => [header, "claimed"])), "x-own": "claimed" },
        })
      ).body,
    ) as Record<string, string>;
    expect(Object.keys(told).filter((header) => told[header] === "claimed")).toEqual(["x-own"]);
    // Sent twice, and in odd letters.
    const twice = JSON.parse(
      (
        await ask("/headers", {
          headers: [
            "X-Forwarded-For",
            "1.2.3.4",
            "x-FORWARDED-for",
            "1.2.3.4",
            "TRUE-client-ip",
            "1.2.3.4",
            "True-Client-IP",
            "1.2.3.4",
            "Host",
            "a.example",
          ],
        })
      ).body,
    ) as Record<string, string>;
    expect(JSON.stringify(twice)).not.toContain("1.2.3.4");
  });

  it("streams events as they come, and carries WebSockets", async () => {
    const started = performance.now();
    const first = await new Promise<string>((resolve, reject) => {
      const sent = httpRequest({ host: "127.0.0.1", port, path: "/events" }, (response) =>
        response.once("data", (chunk: Buffer) => {
          resolve(chunk.toString());
          sent.destroy();
        }),
      );
      sent.on("error", reject).end();
    });
    expect(first).toBe("data: first\n\n");
    expect(performance.now() - started).toBeLessThan(900);
    const echoed = await new Promise<string>((resolve, reject) => {
      const sent = httpRequest({
        host: "127.0.0.1",
        port,
        path: "/socket",
        headers: { connection: "Upgrade", upgrade: "websocket" },
      });
      sent.on("upgrade", (_, socket) => {
        socket.once("data", (data: Buffer) => {
          resolve(data.toString());
          socket.destroy();
        });
        socket.write("hello");
      });
      sent.on("error", reject).end();
    });
    expect(echoed).toBe("blue:hello");
  });

  it("comes up on the same slot after a restart and after a kill", async () => {
    await switchTo("green");
    await docker("restart", `${prefix}-router`);
    expect((await untilRouterAnswers()).headers["x-togather-slot"]).toBe("green");
    await docker("kill", "--signal", "KILL", `${prefix}-router`);
    await docker("start", `${prefix}-router`);
    expect((await untilRouterAnswers()).headers["x-togather-slot"]).toBe("green");
    expect(await control("GET")).toMatchObject({ body: { slot: "green" } });
  });

  it("keeps the public out under maintenance, through reloads and restarts, and is switched and checked all the same", async () => {
    const about = { name, host: "", stack: name };
    const told = { since: "2026-01-28T14:30:22Z", by: "alice@laptop", message: "Back <b>soon</b> & safe" };
    const isOn = async (): Promise<void> => {
      const json = await ask("/page");
      expect([json.status, json.headers["retry-after"], json.headers["cache-control"]]).toEqual([
        503,
        "120",
        "no-store",
      ]);
      expect(JSON.parse(json.body)).toEqual({
        error: "maintenance",
        message: told.message,
        request_id: json.headers["x-request-id"],
      });
    };
    const before = (await control("GET")).body as { slot: SlotName };
    const file = await inRouter("cat", "/router/state/slot.json");
    const other: SlotName = before.slot === "blue" ? "green" : "blue";
    expect(await askMaintenance(about)).toBeUndefined();
    expect(await setMaintenance(about, told)).toBe(true);
    expect(await askMaintenance(about)).toEqual(told);
    await isOn();
    const page = await ask("/", { headers: { accept: "text/html,application/xhtml+xml,*/*;q=0.8" } });
    expect([page.status, page.headers["content-type"]]).toEqual([503, "text/html; charset=utf-8"]);
    expect(page.body).toContain("<p>Back &lt;b&gt;soon&lt;/b&gt; &amp; safe</p>");
    expect((await ask("/", { method: "POST", body: "x" })).status).toBe(503);
    // What goes on: certificates, previews, and the router's own health.
    expect((await ask("/.well-known/acme-challenge/token")).headers["x-togather-slot"]).toBe(before.slot);
    expect((await ask("/.well-known/acme-challenge/../../page")).status).toBe(503);
    const { token } = JSON.parse(
      await inRouter(
        ...["curl", "--silent", "--unix-socket", "/router/run/control.sock", "http://router/preview"],
        ...["--data", JSON.stringify({ slot: other, seconds: 60 })],
      ),
    ) as { token: string };
    expect((await ask("/page", { headers: { "x-togather-preview": token } })).headers["x-togather-slot"]).toBe(other);
    expect((await lookAtHost(name, "")).router?.maintenance).toEqual(told);

    expect(await configure({ readSeconds: 119 })).toMatchObject({ reloaded: true });
    await isOn();
    await docker("restart", `${prefix}-router`);
    await untilRouterAnswers();
    await isOn();
    expect(await askMaintenance(about)).toEqual(told);

    // As if nothing had served yet: the way back to what has is not checked.
    const fresh = JSON.stringify({ slot: before.slot, changedAt: told.since });
    await inRouter("sh", "-c", 'printf "%s\\n" "$1" > /router/state/slot.json', "sh", fresh);
    const checks = [{ path: "/page", status: 200 }];
    expect(await switchTo(other, { checks })).toMatchObject({ from: before.slot, to: other });
    await isOn();
    // The check is as true as ever.
    const wrong = { checks: [{ path: "/page", status: 404 }], logLocation: join(directories, "logs-of-maintenance") };
    await expect(switchTo(before.slot, wrong)).rejects.toThrow(/\/page answers 200, expected 404/);
    expect((await control("GET")).body).toEqual({ slot: other });
    await isOn();
    expect(await switchTo(before.slot)).toMatchObject({ from: other, to: before.slot });

    expect(await setMaintenance(about, undefined)).toBe(true);
    expect((await ask("/page")).headers["x-togather-slot"]).toBe(before.slot);
    await docker("restart", `${prefix}-router`);
    await untilRouterAnswers();
    expect((await ask("/page")).headers["x-togather-slot"]).toBe(before.slot);
    expect(await askMaintenance(about)).toBeUndefined();
    expect(await configure()).toMatchObject({ reloaded: true });
    await inRouter("sh", "-c", 'printf "%s\\n" "$1" > /router/state/slot.json', "sh", file);
  });

  it("puts everything back when the router does not confirm", async () => {
    const before = await stateFile();
    // The slot itself instead of the router: it answers, but not as the router would.
    await expect(switchTo("blue", { routerUrl: `http://${address.blue}:8080` })).rejects.toThrow(
      /the switch to blue was undone: a request went to claimed by the server\. Traffic is still on green/,
    );
    expect(await stateFile()).toEqual(before);
    expect((await ask("/headers")).headers["x-togather-slot"]).toBe("green");
  });

  it("sends traffic back when a check after the switch fails, with an exit code of its own", async () => {
    const before = await stateFile();
    // A release that has not served yet: the way back to one that has is not checked.
    const release = { ...releases.blue, commit: "d".repeat(40) };
    await expect(
      switchTo("blue", {
        release,
        checks: [
          { path: "/health", status: 200 },
          { path: "/missing", status: 200 },
        ],
      }),
    ).rejects.toThrow(
      /^exit code 9: [\s\S]*blue \(v1\.0\.0\) served for \d+\.\d s, and all traffic was sent back: .*: \/missing answers 404, expected 200\. green serves again/,
    );
    // Beside the release that was sent back, and has nothing in its slot's name any more, all is as it was.
    const remembered = {
      ...(before as object),
      sentBack: [{ ...release, why: expect.stringContaining("/missing answers 404") as unknown }],
      served: { green: releases.green },
      proved: {},
    };
    expect(await stateFile()).toMatchObject(remembered);
    expect((await ask("/headers")).headers["x-togather-slot"]).toBe("green");
    const log = readdirSync(join(directories, "logs"))
      .map((file) => readFileSync(join(directories, "logs", file), "utf8"))
      .join("");
    expect(
      log
        .split("\n")
        .filter((line) => line.includes("was sent back"))
        .map((line) => (JSON.parse(line) as { level: string }).level),
    ).toEqual(["ERROR"]);
  });

  it("moves traffic there and back where the disk of the state and the logs is full", async () => {
    const volume = `${prefix}-full`;
    const holder = `${prefix}-holder`;
    await docker(
      "volume",
      "create",
      "--driver=local",
      "--opt=type=tmpfs",
      "--opt=device=tmpfs",
      "--opt=o=size=1m",
      volume,
    );
    await docker(
      "run",
      "--detach",
      `--name=${holder}`,
      `--volume=${volume}:/full`,
      "--entrypoint=sh",
      bundledImageTag("ops"),
      "-c",
      "mkdir /full/state /full/logs; cat /dev/zero > /full/filled; touch /full/is-full; sleep 600",
    );
    try {
      await eventually("the disk is full", () => docker("exec", holder, "ls", "/full/is-full"));
      const full = await docker("volume", "inspect", "--format={{.Mountpoint}}", volume);
      const where = { stateLocation: `${full}/state`, logLocation: `${full}/logs` };
      const step = (step: string, own: object) =>
        execa(process.execPath, [join(project, "ops/main.ts"), step], {
          env: { TOGATHER_REQUEST: JSON.stringify({ ...common, ...where, ...own }) },
          reject: false,
        });
      for (const activeSlot of ["blue", "green"] as const) {
        const begun = await step("begin", { activeSlot, slots: releases });
        expect(begun.exitCode, begun.stderr).toBe(0);
        expect(begun.stderr).toMatch(/WARN +this deployment is not written down: ENOSPC/);
        const { deploymentId } = JSON.parse(begun.stdout) as StepResult<"begin">;
        expect(await switchTo(activeSlot, where)).toMatchObject({ to: activeSlot });
        expect((await ask("/headers")).headers["x-togather-slot"]).toBe(activeSlot);
        expect(await stateFile()).toMatchObject({ slot: activeSlot });
        const recorded = await step("record", {
          activeSlot,
          slots: releases,
          release: releases[activeSlot],
          deploymentId,
          logRetention: 7,
        });
        expect(recorded.exitCode, recorded.stderr).toBe(0);
        expect(recorded.stderr).toMatch(new RegExp(`WARN +${activeSlot} serves, which is not written down: ENOSPC`));
      }
    } finally {
      await docker("rm", "--force", holder);
      await docker("volume", "rm", volume);
    }
  });

  it("reloads a changed configuration, keeps the slot and ends what is in flight; an unchanged one does nothing", async () => {
    const { digest } = await configure();
    expect(await configure()).toEqual({ digest, reloaded: false });
    // Another slot in memory than on disk shows that memory outlives a reload.
    await control("PUT", '{"slot":"blue"}');
    const slow = ask("/slow");
    await sleep(100);
    const changed = await configure({ readSeconds: 5 });
    expect(changed.reloaded).toBe(true);
    expect(changed.digest).not.toBe(digest);
    expect((await ask("/headers")).headers["x-togather-slot"]).toBe("blue");
    expect(await slow).toMatchObject({ status: 200, body: "blue" });
    expect(await configure({ readSeconds: 5 })).toEqual({ digest: changed.digest, reloaded: false });
    // Written, but the reload was lost (a client that was killed): the next run makes up for it.
    await inRouter(
      "bash",
      "-c",
      `cp -r /router/conf/${digest} /router/conf/aaaaaaaaaaaaaaaa && sed -i s/${digest}/aaaaaaaaaaaaaaaa/ /router/conf/aaaaaaaaaaaaaaaa/digest.conf && ln -sfn aaaaaaaaaaaaaaaa /router/conf/current && router-reload aaaaaaaaaaaaaaaa && ln -sfn ${changed.digest} /router/conf/current`,
    );
    expect(await configure({ readSeconds: 5 })).toEqual({ digest: changed.digest, reloaded: true });
    expect(await control("PUT", '{"slot":"green"}')).toMatchObject({ status: 200 });
  });

  it("refuses a broken configuration, and goes on with the one before", async () => {
    const before = await inRouter("bash", "-c", "readlink /router/conf/current; ls /router/conf");
    await expect(
      configure({}, {}, (text) => text.replace("server_tokens off;", "server_tokens perhaps;")),
    ).rejects.toThrow(
      /nginx refuses the router's configuration: invalid value "perhaps".*\n {2}nginx\.conf:\d+: server_tokens perhaps;\nNothing was changed/,
    );
    await expect(configure({ tls: true })).rejects.toMatchObject({
      hint: expect.stringContaining("togather:tls.certificateFile") as unknown,
    });
    expect(await inRouter("bash", "-c", "readlink /router/conf/current; ls /router/conf")).toBe(before);
    expect((await ask("/headers")).headers["x-togather-slot"]).toBe("green");
  });

  it("serves HTTPS with a key that only root can read, and can be switched when plain HTTP is redirected", async () => {
    const [pair, other] = [
      await generate([{ name: "commonName", value: "localhost" }]),
      await generate([{ name: "commonName", value: "localhost" }]),
    ];
    await expect(configure({ tls: true }, { TLS_CERTIFICATE: pair.cert, TLS_KEY: other.private })).rejects.toThrow(
      "key values mismatch",
    );
    const env = { TLS_CERTIFICATE: pair.cert, TLS_KEY: pair.private };
    expect(await configure({ tls: true, redirectToHttpsPort: tlsPort }, env)).toMatchObject({ reloaded: true });
    const { digest } = await configure({ tls: true, redirectToHttpsPort: tlsPort }, env);
    expect(await inRouter("stat", "--format", "%a %U", `/router/conf/${digest}/tls/key.pem`)).toBe("600 root");
    const secure = await ask("/headers", { secure: true });
    expect(secure).toMatchObject({
      status: 200,
      headers: { "strict-transport-security": "max-age=31536000", "x-togather-slot": "green" },
    });
    expect(JSON.parse(secure.body)).toMatchObject({ "x-forwarded-proto": "https" });
    const plain = await ask("/path?query=1", { headers: { host: `localhost:${port}` } });
    expect(plain).toMatchObject({ status: 308, headers: { location: `https://localhost:${tlsPort}/path?query=1` } });
    expect(plain.headers["strict-transport-security"]).toBeUndefined();
    // The redirect is the router's own: no slot is named, and none is counted.
    expect(plain.headers["x-togather-slot"]).toBeUndefined();
    const counted = await inRouter(
      "curl",
      "--silent",
      "--unix-socket",
      "/router/run/control.sock",
      "http://router/counters",
    );
    for (let i = 0; i < 5; i++) await ask("/path");
    await sleep(1_500);
    expect(
      await inRouter("curl", "--silent", "--unix-socket", "/router/run/control.sock", "http://router/counters"),
    ).toBe(counted);
    // Production's default: the health endpoint is requested again after the switch, by HTTPS.
    const checks = [{ path: "/health", status: 200 }];
    expect(
      await switchTo("blue", {
        release: { ...releases.blue, commit: `${releases.blue.commit.slice(0, -1)}0` },
        checks,
      }),
    ).toMatchObject({ from: "green", to: "blue" });
    expect((await ask("/headers", { secure: true })).headers["x-togather-slot"]).toBe("blue");
    expect(
      (await inRouter("find", "/router/conf", "-mindepth", "1", "-maxdepth", "1", "-type", "d")).split("\n"),
    ).toHaveLength(3);
  });

  it("serves a renewed certificate to new connections without a reload, and loses nothing that is open", async () => {
    const named = async (commonName: string): Promise<NodeJS.ProcessEnv> => {
      const pair = await generate([{ name: "commonName", value: commonName }]);
      return { TLS_CERTIFICATE: pair.cert, TLS_KEY: pair.private };
    };
    const [first, second] = [await named("first"), await named("second")];
    const served = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = tlsConnect({ host: "127.0.0.1", port: tlsPort, rejectUnauthorized: false }, () => {
          resolve(String(socket.getPeerCertificate().subject.CN));
          socket.destroy();
        }).on("error", reject);
      });
    const workers = (): Promise<string> => inRouter("bash", "-c", "grep -l '^nginx: worker' /proc/[0-9]*/cmdline");
    const before = await configure({ tls: true }, first);
    expect([before.reloaded, await served()]).toEqual([true, "first"]);
    expect(await inRouter("stat", "-c", "%a %U", "/router/conf/current/tls/certificate.json")).toBe("600 root");
    const processes = await workers();

    // Keep-alive connections that never send a request twice, and one that was idle all the while.
    const agent = new HttpsAgent({ keepAlive: true, rejectUnauthorized: false, maxSockets: 4 });
    const post = (with_: HttpsAgent): Promise<Answer> =>
      ask("/", { secure: true, agent: with_, method: "POST", body: randomUUID() });
    const idle = new HttpsAgent({ keepAlive: true, rejectUnauthorized: false, maxSockets: 1 });
    expect((await post(idle)).status).toBe(201);
    const answers: string[] = [];
    let running = true;
    const load = Array.from({ length: 4 }, async () => {
      while (running) {
        answers.push(await post(agent).then(({ status }) => String(status), String));
        await sleep(5);
      }
    });
    // Full handshakes while certificates change: each meets a certificate with its own key.
    const handshakes: string[] = [];
    const handshaking = (async () => {
      while (running) {
        handshakes.push(await served().catch(String));
        await sleep(5);
      }
    })();
    const digests = new Set([before.digest]);
    for (let round = 0; round < 4; round++) {
      const { digest, reloaded } = await configure({ tls: true }, round % 2 === 0 ? second : first);
      expect([reloaded, await served()]).toEqual([false, round % 2 === 0 ? "second" : "first"]);
      digests.add(digest);
    }
    expect(await configure({ tls: true }, second)).toMatchObject({ reloaded: false });
    expect(await configure({ tls: true }, second)).toMatchObject({ reloaded: false });
    running = false;
    await Promise.all([...load, handshaking]);
    expect(answers.filter((answer) => answer !== "201")).toEqual([]);
    expect(answers.length).toBeGreaterThan(100);
    expect(handshakes.filter((name) => !["first", "second"].includes(name))).toEqual([]);
    const socket = Object.values(idle.freeSockets).flat()[0];
    expect((await post(idle)).status).toBe(201);
    // It is free a moment after the answer has been read.
    const free = (): Promise<unknown> => Promise.resolve(Object.values(idle.freeSockets).flat()[0]);
    expect(await eventually("the idle connection is free again", free, 10)).toBe(socket);
    for (const one of [agent, idle]) one.destroy();
    expect(await workers()).toBe(processes);
    expect(digests.size).toBe(2);

    // A pair that doesn't belong together never gets there.
    await expect(configure({ tls: true }, { ...first, TLS_KEY: second["TLS_KEY"] })).rejects.toThrow(
      "key values mismatch",
    );
    expect(await served()).toBe("second");
    // Any other change needs a reload, and a certificate added to an older configuration does not return with it.
    expect(await configure({ tls: true, readSeconds: 50 }, second)).toMatchObject({ reloaded: true });
    expect([await served(), await configure({ tls: true }, first)]).toEqual([
      "second",
      { digest: before.digest, reloaded: true },
    ]);
    expect(await served()).toBe("first");
    expect(await configure({ tls: true }, second)).toMatchObject({ reloaded: false });
    await docker("restart", `${prefix}-router`);
    await untilRouterAnswers();
    expect(await served()).toBe("second");
    expect(await configure({ tls: true }, second)).toMatchObject({ reloaded: false });
  });

  it("answers closed paths by itself, however they are written", async () => {
    await configure({ closedPaths: ["/metrics"] });
    for (const path of [
      "/metrics",
      "/metrics/",
      "/metrics/x",
      "/metrics?x=1",
      "//metrics",
      "/%6detrics",
      "/x/../metrics",
      "/./metrics",
      "/metrics%2fx",
    ]) {
      const closed = await ask(path);
      expect([
        path,
        closed.status,
        closed.headers["x-togather-slot"],
        (JSON.parse(closed.body) as { error?: string }).error,
      ]).toEqual([path, 404, undefined, "not_found"]);
    }
    for (const path of ["/metricsx", "/x/metrics"]) expect((await ask(path)).headers["x-togather-slot"]).toBe("blue");
    expect((await ask("/health")).status).toBe(200);
  });

  it("limits rates where it is told to", async () => {
    await configure({ rateLimit: { requestsPerSecond: 1, burst: 2 } });
    const answers = await Promise.all(Array.from({ length: 6 }, () => ask("/headers")));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 200, 429, 429, 429]);
    expect((await control("GET")).status).toBe(200);
  });

  it("answers in JSON what it refuses by itself, and counts it for no slot", async () => {
    await configure({ maxBodyMegabytes: 1 });
    const before = await inRouter("curl", "--silent", "http://127.0.0.1:9145/metrics");
    const answers = [
      await ask("/", { method: "POST", body: "x".repeat(1_100_000) }),
      await ask(`/${"x".repeat(20_000)}`),
      await ask("/", { headers: { "x-large": "x".repeat(20_000) } }),
    ];
    expect(
      answers.map(({ status, headers, body }) => [
        status,
        headers["x-togather-slot"],
        headers["content-type"],
        (JSON.parse(body) as { error: string }).error,
      ]),
    ).toEqual([
      [413, undefined, "application/json", "payload_too_large"],
      [414, undefined, "application/json", "uri_too_long"],
      [400, undefined, "application/json", "bad_request"],
    ]);
    const refused = (text: string): string[] =>
      text.split("\n").filter((line) => /requests_total.*(4xx|open)/.test(line));
    expect(refused(await inRouter("curl", "--silent", "http://127.0.0.1:9145/metrics"))).toEqual(refused(before));
  });

  it("answers in JSON what is no request, on each of its ports", async () => {
    const pair = await generate([{ name: "commonName", value: "localhost" }]);
    const env = { TLS_CERTIFICATE: pair.cert, TLS_KEY: pair.private };
    const raw = (text: string, at: number): Promise<string> =>
      new Promise((resolve, reject) => {
        let got = "";
        const socket = connect(at, "127.0.0.1", () => socket.write(text));
        socket
          .on("data", (data: Buffer) => {
            got += data.toString();
            if (got.endsWith("}\n")) socket.destroy();
          })
          .on("error", reject)
          .on("close", () => {
            resolve(got);
          });
      });
    const close = "Host: a\r\nConnection: close\r\n";
    const odd: Record<string, string> = {
      "no Host": "GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
      TRACE: `TRACE / HTTP/1.1\r\n${close}\r\n`,
      CONNECT: `CONNECT a:443 HTTP/1.1\r\n${close}\r\n`,
      "HTTP/3.0": `GET / HTTP/3.0\r\n${close}\r\n`,
      encoding: `POST / HTTP/1.1\r\n${close}Transfer-Encoding: odd\r\n\r\n`,
      length: `POST / HTTP/1.1\r\n${close}Content-Length: x\r\n\r\n`,
      nonsense: "nonsense\r\n\r\n",
      long: `GET /${"x".repeat(20_000)} HTTP/1.1\r\n${close}\r\n`,
      header: `GET / HTTP/1.1\r\n${close}X: ${"x".repeat(20_000)}\r\n\r\n`,
      body: `POST / HTTP/1.1\r\n${close}Content-Length: 2000000\r\n\r\n`,
    };
    const expected: Record<string, [number, string]> = {
      "no Host": [400, "bad_request"],
      TRACE: [405, "method_not_allowed"],
      CONNECT: [400, "bad_request"],
      "HTTP/3.0": [505, "http_version_not_supported"],
      encoding: [501, "not_implemented"],
      length: [400, "bad_request"],
      nonsense: [400, "bad_request"],
      long: [414, "uri_too_long"],
      header: [400, "bad_request"],
      body: [413, "payload_too_large"],
    };
    const counters = (): Promise<string> => inRouter("curl", "--silent", "http://127.0.0.1:9145/metrics");
    const own = (text: string): string[] => text.split("\n").filter((line) => /requests_total/.test(line));
    for (const options of [{}, { tls: true, redirectToHttpsPort: 443 }]) {
      const secure = "tls" in options;
      await configure({ maxBodyMegabytes: 1, ...options }, secure ? env : {});
      const before = own(await counters());
      const answers = await Promise.all(
        Object.entries(odd).map(async ([name, text]) => {
          const answer = await raw(text, port);
          const body = answer.slice(answer.indexOf("\r\n\r\n") + 4);
          return [
            name,
            [Number(answer.split(" ")[1]), (JSON.parse(body) as { error: string }).error],
            /^x-togather-slot:/im.test(answer),
          ];
        }),
      );
      expect(answers, JSON.stringify(options)).toEqual(Object.entries(expected).map((one) => [...one, false]));
      if (secure)
        expect(await raw(`GET / HTTP/1.1\r\n${close}\r\n`, tlsPort)).toMatch(
          /^HTTP\/1\.1 400 [^]*plain HTTP on a port for HTTPS/,
        );
      else expect(JSON.parse((await ask("/_togather/refusal")).body)).toMatchObject({ error: "not_found" });
      await sleep(1_200);
      expect(own(await counters())).toEqual(before);
    }
    await configure();
  });

  it("hands over what a server answers that closes before it has read the whole body", async () => {
    await configure();
    const own: Record<string, number> = {};
    for (let round = 0; round < 25; round++)
      for (const kilobytes of [100, 4000])
        for (const path of ["/refuse", "/refuse-later"]) {
          const { status, body } = await ask(path, { method: "POST", body: "x".repeat(kilobytes * 1024) });
          const answer = `${status} ${body.replace(/ (blue|green)$/, "")}`;
          own[answer] = (own[answer] ?? 0) + 1;
        }
    // A connection that is closed between nginx's look and its next piece is still a 502.
    expect(own["413 too much for"], JSON.stringify(own)).toBeGreaterThanOrEqual(47);
    expect(own["401 not you"], JSON.stringify(own)).toBeGreaterThanOrEqual(47);
  });

  it("takes HTTP/1.0 without Host, and answers with large headers", async () => {
    await configure();
    const answer = await new Promise<string>((resolve, reject) => {
      let text = "";
      const socket = connect(port, "127.0.0.1", () => socket.write("GET /headers HTTP/1.0\r\n\r\n"));
      socket
        .on("data", (data: Buffer) => (text += data.toString()))
        .on("error", reject)
        .on("end", () => {
          resolve(text);
        });
    });
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    const large = await ask("/large-headers");
    expect([large.status, large.headers["x-large"]?.length]).toEqual([200, 12_000]);
  });

  it("says in JSON that a slot does not answer", async () => {
    await configure({ readSeconds: 1 });
    expect(await ask("/silent?access_token=not-for-logs")).toMatchObject({
      status: 504,
      body: expect.stringContaining("slot blue did not answer in time") as unknown,
    });
    await docker("stop", `${prefix}-blue`);
    const answer = await ask("/health");
    expect(answer).toMatchObject({ headers: { "content-type": "application/json", "x-togather-slot": "blue" } });
    // Nobody has the address any more: the network says so (502), or connecting takes too long (504).
    expect([
      [502, "slot blue does not answer"],
      [504, "slot blue did not answer in time"],
    ]).toContainEqual([answer.status, (JSON.parse(answer.body) as { message: string }).message]);
    // Back to what serves.
    expect(await switchTo("green")).toMatchObject({ from: "blue", to: "green" });
  });

  it("wrote a JSON line for each request, without query strings, and steps left their log", async () => {
    const { stdout, stderr } = await execa("docker", ["logs", `${prefix}-router`], { maxBuffer: 1e9 });
    const lines = stdout.split("\n").map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.length).toBeGreaterThan(100);
    expect(lines.find(({ path }) => path === "/path")).toMatchObject({ status: 308, method: "GET" });
    expect(lines.find(({ path, status }) => path === "/headers" && status === 200)).toMatchObject({
      slot: expect.stringMatching(/blue|green/) as unknown,
      upstream_addr: expect.stringContaining(subnet) as unknown,
      upstream_status: "200",
    });
    expect(stdout).not.toContain("query=1");
    expect(`${stdout}${stderr}`).not.toContain("not-for-logs");
    expect(stderr).not.toContain("query=1");
    expect(readdirSync(join(directories, "logs")).length).toBeGreaterThan(0);
  });
});

/** Each test's release is a new one in blue, where green serves. */
describe("a new release on trial", () => {
  let counter = 0;
  let release: StepRequest<"switch">["release"];

  beforeAll(async () => {
    await startSlot("green", health.green);
    await eventually(
      "green is up",
      async () =>
        (await docker(
          "exec",
          `${prefix}-green`,
          "node",
          "-e",
          'fetch("http://127.0.0.1:8080/health").then((r) => console.log(r.status))',
        )) === "200",
    );
    await switchTo("green");
  });

  beforeEach(async () => {
    release = { version: `v2.0.${++counter}`, commit: "c".repeat(40) };
    await startSlot("blue", JSON.stringify({ ...(JSON.parse(health.blue) as object), version: release.version }));
    await eventually(
      "blue is up",
      async () =>
        (await docker(
          "exec",
          `${prefix}-blue`,
          "node",
          "-e",
          'fetch("http://127.0.0.1:8080/health").then((r) => console.log(r.status))',
        )) === "200",
    );
  });

  const trial = (rollout: Partial<StepRequest<"switch">["rollout"]>): Promise<StepResult<"switch">> =>
    switchTo("blue", { release, rollout: { ...atOnce, ...rollout } });
  async function expectGreen(): Promise<void> {
    const slots = await Promise.all(
      Array.from({ length: 40 }, async () => (await ask("/page")).headers["x-togather-slot"]),
    );
    expect(new Set(slots)).toEqual(new Set(["green"]));
    expect(await stateFile()).toMatchObject({ slot: "green" });
  }
  const slotNow = async (): Promise<unknown> => ((await control("GET")).body as { slot: unknown }).slot;

  it("gets a growing share, is sent back when a fifth of its requests fail, and the old one loses none", async () => {
    await trouble("blue", "failing=0.2");
    const stop = startAsking();
    const started = performance.now();
    await expect(trial({ steps: [20, 50, 100], intervalMs: 20_000 })).rejects.toThrow(
      /blue \(v2\.0\.1\) got up to 20 % of the requests for [\d.]+ s, and all traffic goes to green again: \d+ of \d+ requests failed/,
    );
    expect(performance.now() - started).toBeLessThan(20_000);
    const { blue, green } = await stop();
    expect(green?.failed).toBe(0);
    expect(blue?.failed).toBeGreaterThan(0);
    expect((blue?.ok ?? 0) + (blue?.failed ?? 0)).toBeLessThan((green?.ok ?? 0) / 2);
    await expectGreen();
  });

  it("is sent back when it fails only once it has all traffic", async () => {
    const stop = startAsking();
    const running = trial({ bakeMs: 30_000 }).then(
      () => "kept",
      (error: unknown) => String(error),
    );
    await eventually("blue serves", async () => (await slotNow()) === "blue");
    await trouble("blue", "failing=0.2");
    expect(await running).toMatch(
      /exit code 9: [\s\S]*blue \(v2\.0\.2\) served for [\d.]+ s, and all traffic was sent back: \d+ of \d+ requests failed .*\. green serves again/,
    );
    await stop();
    await expectGreen();
  });

  it.each([1, 30])("is sent back when it crashes %d s after the switch, without any traffic", async (seconds) => {
    const running = trial({ bakeMs: 60_000 }).then(
      () => "kept",
      (error: unknown) => String(error),
    );
    await eventually("blue serves", async () => (await slotNow()) === "blue");
    const switched = performance.now();
    await trouble("blue", `exit=${seconds * 1000}`);
    expect(await running).toMatch(
      /exit code 9: [\s\S]*all traffic was sent back: .*(ECONNREFUSED|EHOSTUNREACH|no answer|socket hang up|ECONNRESET)/,
    );
    expect(performance.now() - switched).toBeLessThan(seconds * 1000 + 20_000);
    await expectGreen();
  });

  it("is sent back when another version answers in its place", async () => {
    const running = trial({ steps: [10, 100], intervalMs: 30_000 }).then(
      () => "kept",
      (error: unknown) => String(error),
    );
    await eventually("blue gets a share", async () =>
      (await inRouter("curl", "--silent", "http://127.0.0.1:9145/metrics")).includes('weight_percent{slot="blue"} 10'),
    );
    await trouble("blue", "version=v0.9.0");
    expect(await running).toMatch(/exit code 9: [\s\S]*all traffic goes to green again: it is v0\.9\.0, not v2\.0\.5/);
    await expectGreen();
  });

  it("is taken back when its deployment is killed, by the step itself or by the router", async () => {
    const watched = { steps: [50, 100], intervalMs: 120_000 };
    for (const [what, kill] of [
      [
        "the client",
        (pid: number) => {
          process.kill(pid, "SIGKILL");
        },
      ],
      [
        "the step",
        () =>
          execa("bash", [
            "-c",
            `docker kill $(docker ps --quiet --filter label=org.togather.name=${name} --filter label=org.togather.part=step)`,
          ]),
      ],
    ] as const) {
      const request = requestFor("blue", { release, rollout: { ...atOnce, ...watched } });
      const client = execa(process.execPath, [join(project, "ops/main.ts"), "switch"], {
        env: { TOGATHER_REQUEST: JSON.stringify(request) },
        reject: false,
      });
      await eventually("blue gets a share", async () =>
        (await inRouter("curl", "--silent", "http://127.0.0.1:9145/metrics")).includes(
          'weight_percent{slot="blue"} 50',
        ),
      );
      await kill(client.pid ?? 0);
      await client;
      await eventually(
        `blue gets no share any more after ${what} was killed`,
        async () =>
          (await inRouter("curl", "--silent", "http://127.0.0.1:9145/metrics")).includes(
            'weight_percent{slot="blue"} 0',
          ),
        40,
      );
      await expectGreen();
    }
  });

  it("is taken back when the machine that deploys falls asleep, by the step itself", async () => {
    const request = requestFor("blue", { release, rollout: { ...atOnce, steps: [50, 100], intervalMs: 300_000 } });
    const client = execa(process.execPath, [join(project, "ops/main.ts"), "switch"], {
      env: { TOGATHER_REQUEST: JSON.stringify(request) },
      reject: false,
    });
    const share = async (percent: number): Promise<boolean> =>
      (await inRouter("curl", "--silent", "http://127.0.0.1:9145/metrics")).includes(
        `weight_percent{slot="blue"} ${percent}`,
      );
    await eventually("blue gets a share", () => share(50));
    const { stdout } = await execa("pgrep", ["-P", String(client.pid ?? 0)]);
    const asleep = [client.pid ?? 0, ...stdout.split("\n").map(Number)];
    for (const pid of asleep) process.kill(pid, "SIGSTOP");
    try {
      // The lock of the deployment is given up after 120 s.
      await eventually("blue gets no share any more", () => share(0), 118);
      await expectGreen();
      expect(await stateFile()).not.toMatchObject({
        sentBack: [expect.objectContaining({ version: release.version })],
      });
    } finally {
      for (const pid of asleep) process.kill(pid, "SIGCONT");
    }
    expect(await client).toMatchObject({
      exitCode: 9,
      stderr: expect.stringContaining("nothing was heard of the client that started this step for 90 s") as unknown,
    });
  });

  it("stays when it does well, the same client with the same slot where that is asked for, also through a restart of nginx", async () => {
    const stop = startAsking();
    const running = trial({ steps: [50, 100], intervalMs: 2_000, bakeMs: 8_000, sticky: true }).then(
      (result) => result,
      (error: unknown) => String(error),
    );
    await eventually("blue gets a share", async () =>
      (await inRouter("curl", "--silent", "http://127.0.0.1:9145/metrics")).includes('weight_percent{slot="blue"} 50'),
    );
    // One address: all of its requests, or none.
    const slots = new Set(
      await Promise.all(Array.from({ length: 30 }, async () => (await ask("/page")).headers["x-togather-slot"])),
    );
    expect(slots.size).toBe(1);
    await eventually("blue serves", async () => (await slotNow()) === "blue");
    await stop();
    await docker("kill", "--signal", "KILL", `${prefix}-router`);
    await docker("start", `${prefix}-router`);
    expect(await running).toMatchObject({ from: "green", to: "blue" });
    expect((await ask("/page")).headers["x-togather-slot"]).toBe("blue");
    expect(await stateFile()).toMatchObject({
      slot: "blue",
      served: { blue: release },
      versions: { blue: release.version },
    });
  });

  it("is not needed to go back to what served", async () => {
    const started = performance.now();
    expect(
      await switchTo("green", { rollout: { steps: [5, 100], intervalMs: 60_000, bakeMs: 60_000, sticky: false } }),
    ).toMatchObject({ to: "green" });
    expect(performance.now() - started).toBeLessThan(30_000);
  });

  it.each([
    ["hangs", "hanging=0.3", /: \d+ of \d+ requests failed/, 30],
    [
      "refuses clients that the one before lets in",
      "refusing=0.3",
      /: \d+ of \d+ requests were refused with 401, 403 or 429/,
      4,
    ],
    ["says that it is unhealthy, with status 200", "status=unhealthy", /: it says that it is unhealthy/, 1],
  ])("is sent back when it %s", async (_, what, words, clients) => {
    await trouble("blue", what);
    const stop = startAsking(clients);
    const verdict = await trial({ steps: [50, 100], intervalMs: 25_000 }).then(
      () => "kept",
      (error: unknown) => String(error),
    );
    await stop();
    expect(verdict).toMatch(words);
    await expectGreen();
  });

  it("is told by the router in Prometheus' format, and by slot and version in its log", async () => {
    await ask("/page");
    await ask("/missing");
    const text = await inRouter("curl", "--silent", "http://127.0.0.1:9145/metrics");
    for (const line of text.trim().split("\n"))
      expect(line).toMatch(
        /^(# (HELP|TYPE) togather_router_\w+ .+|togather_router_\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? \d+(\.\d+)?(e-?\d+)?)$/,
      );
    expect(text).toMatch(/^togather_router_active_slot\{slot="green"\} 1$/m);
    expect(text).toMatch(/^togather_router_requests_total\{slot="green",code="4xx"\} [1-9]/m);
    expect(text).toMatch(/^togather_router_response_seconds_bucket\{slot="green",le="\+Inf"\} [1-9]/m);
    expect(text).toMatch(/^togather_router_switches_total [1-9]/m);
    expect(text).toMatch(/^togather_router_slot_info\{slot="green",version="v1\.1\.0"\} 1$/m);
    // Not on the public port.
    expect((await ask("/metrics")).status).toBe(404);
    // Lines are written together, a second later at most.
    const line = await eventually(
      "the line of the last request",
      async () =>
        (await docker("logs", "--tail", "20", `${prefix}-router`))
          .split("\n")
          .map((text) => JSON.parse(text) as Record<string, unknown>)
          .find(({ path }) => path === "/metrics"),
      10,
    );
    expect(line).toMatchObject({ slot: "green", version: "v1.1.0", status: 404 });
  });

  it("gets no traffic when it does worse with requests of the router's log, and is asked nothing but what was allowed", async () => {
    const replay = { paths: ["/page"], requests: 60 };
    const cookie = { cookie: "session=visitor-canary", authorization: "Bearer visitor-canary" };
    for (let n = 0; n < 60; n++) await ask(`/page?token=visitor-canary-${n}`, { headers: cookie });
    await ask("/health");
    // The log is written once a second.
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    await trouble("blue", "failing=0.5");
    await expect(trial({ replay })).rejects.toThrow(
      /blue \(v2\.0\.\d+\) does worse than green with requests of the router's log: \d+ of 60 requests failed .*\. No traffic has moved: green serves/,
    );
    await expectGreen();
    await trouble("blue", "failing=0");
    // An equally good release goes on; its repeated requests contain nothing of the visitors.
    await trial({ replay });
    expect(await slotNow()).toBe("blue");
    await switchTo("green");
    await expectGreen();
  });
});

describe("a preview of the slot that does not serve", () => {
  interface Token {
    token: string;
    expires: number;
  }
  async function makeToken(slot: SlotName, seconds = 60): Promise<Token> {
    return JSON.parse(
      await inRouter(
        "curl",
        "--silent",
        "--unix-socket",
        "/router/run/control.sock",
        "--data",
        JSON.stringify({ slot, seconds }),
        "http://router/preview",
      ),
    ) as Token;
  }
  const counters = async (): Promise<string> =>
    inRouter("curl", "--silent", "--unix-socket", "/router/run/control.sock", "http://router/counters");

  let token: string;
  beforeAll(async () => {
    // The tests before have changed them.
    for (const slot of ["blue", "green"] as const) await startSlot(slot, health[slot]);
    await configure();
    await switchTo("green");
    ({ token } = await makeToken("blue"));
  });

  it("is reached by a header, through the public port, while everybody else gets the other slot; the server never sees the token", async () => {
    const [through, public_] = await Promise.all([
      ask("/headers", { headers: { "x-togather-preview": token } }),
      ask("/headers"),
    ]);
    expect(JSON.parse(through.body)).toMatchObject({ slot: "blue" });
    expect(JSON.parse(public_.body)).toMatchObject({ slot: "green" });
    expect(through.headers["x-togather-slot"]).toBe("blue");
    expect(through.headers["cache-control"]).toBe("private, no-store");
    expect(public_.headers["cache-control"]).toBeUndefined();
    expect(through.body).not.toContain(token.split(".")[3]);
  });

  it("is reached by people with a cookie, which the link sets, and the server never sees", async () => {
    const entered = await ask(`/_togather/preview?token=${token}`);
    expect(entered.status).toBe(302);
    // Not with a port: that of the container is not the public's.
    expect(entered.headers["location"]).toBe("/");
    const [cookie = ""] = entered.headers["set-cookie"] ?? [];
    expect(cookie).toMatch(/^togather_preview=v1\.blue\.\d+\.[\w-]+; Path=\/; Max-Age=\d+; HttpOnly; SameSite=Lax$/);
    const value = cookie.split(";")[0] ?? "";
    for (const [sent, left] of [
      [value, undefined],
      [`${value}; session=1`, "session=1"],
      [`session=1; ${value}`, "session=1"],
      [`a=1; ${value}; b=2`, "a=1; b=2"],
      [`${value}; ${value}`, undefined],
      [`a=1; ${value}; b=2; ${value}`, "a=1; b=2"],
      [`Togather_Preview=${token}; a=1`, "a=1"],
      [`togather_preview =${token}`, undefined],
    ] as const) {
      const answer = JSON.parse((await ask("/headers", { headers: { cookie: sent } })).body) as Record<string, string>;
      expect([answer["slot"], answer["cookie"]], sent).toEqual(["blue", left]);
    }
    // Nobody else's cookies are touched.
    expect(JSON.parse((await ask("/headers", { headers: { cookie: "a=1; xtogather_preview=2" } })).body)).toMatchObject(
      { slot: "green", cookie: "a=1; xtogather_preview=2" },
    );
    const left = await ask("/_togather/preview");
    expect([left.status, left.headers["set-cookie"]?.[0]]).toEqual([
      302,
      expect.stringMatching(/^togather_preview=; Path=\/; Max-Age=0;/),
    ]);
  });

  it("takes WebSockets and streams too", async () => {
    const cookie = `togather_preview=${token}`;
    const answer = await new Promise<string>((resolve, reject) => {
      const sent = httpRequest({
        host: "127.0.0.1",
        port,
        path: "/socket",
        headers: { connection: "Upgrade", upgrade: "websocket", cookie },
      });
      sent.on("error", reject);
      sent.on("upgrade", (_response, socket) => {
        socket.once("data", (data: Buffer) => {
          resolve(data.toString());
          socket.destroy();
        });
        socket.write("hello");
      });
      sent.end();
    });
    expect(answer).toBe("blue:hello");
    const events = await ask("/events", { headers: { cookie } });
    expect([events.headers["x-togather-slot"], events.body]).toEqual(["blue", "data: first\n\ndata: last\n\n"]);
  });

  it("has a cookie of its own for each deployment, and keeps the server's Cache-Control out of it", async () => {
    await configure({ name: "staging-2" });
    try {
      const entered = await ask(`/_togather/preview?token=${token}`);
      expect(entered.headers["set-cookie"]?.[0]).toMatch(/^togather_preview_staging_2=v1\.blue\./);
      const cookie = `togather_preview_staging_2=${token}`;
      expect(JSON.parse((await ask("/headers", { headers: { cookie: `${cookie}; a=1` } })).body)).toMatchObject({
        slot: "blue",
        cookie: "a=1",
      });
      // Another deployment's, on another port of the same host name, is neither a reason to refuse nor the server's.
      const other = await ask("/headers", {
        headers: { cookie: "togather_preview_production=v1.blue.9999999999.x; a=1" },
      });
      expect([other.status, JSON.parse(other.body)]).toMatchObject([200, { slot: "green", cookie: "a=1" }]);
      expect((await ask("/cached")).headers["cache-control"]).toBe("public, max-age=60");
      expect((await ask("/cached", { headers: { cookie } })).headers["cache-control"]).toBe("private, no-store");
      // A cookie that leads nowhere any more is removed.
      const stale = await ask("/page", { headers: { cookie: "togather_preview_staging_2=v1.blue.1.x" } });
      expect([stale.status, stale.headers["set-cookie"]]).toEqual([
        403,
        [expect.stringMatching(/^togather_preview_staging_2=; Path=\/; Max-Age=0/)],
      ]);
      expect(
        (await ask("/page", { headers: { "x-togather-preview": "v1.blue.1.x" } })).headers["set-cookie"],
      ).toBeUndefined();
    } finally {
      await configure();
    }
  });

  it("is refused with a token that is forged, of another slot, of another deployment, or over: never the slot that serves instead", async () => {
    const [version = "", slot = "", expires = "", signature = ""] = token.split(".");
    const { token: short } = await makeToken("blue", 1);
    await sleep(1_100);
    const bad = [
      "nonsense",
      [version, "green", expires, signature].join("."),
      [version, slot, String(Number(expires) + 1), signature].join("."),
      [version, slot, expires, signature.replace(/^./, (first) => (first === "A" ? "B" : "A"))].join("."),
      [
        version,
        slot,
        expires,
        createHmac("sha256", "another deployment's key").update([version, slot, expires].join(".")).digest("base64url"),
      ].join("."),
      [version, slot, expires].join("."),
      short,
    ];
    for (const one of bad) {
      const byHeader = await ask("/page", { headers: { "x-togather-preview": one } });
      expect([byHeader.status, byHeader.headers["x-togather-slot"]], one).toEqual([403, "refused"]);
      expect(byHeader.body).toContain("togather preview-url makes a new one");
      expect((await ask("/page", { headers: { cookie: `togather_preview=${one}` } })).status, one).toBe(403);
      const link = await ask(`/_togather/preview?token=${one}`);
      expect([link.status, link.headers["set-cookie"]], one).toEqual([403, undefined]);
    }
  });

  it("is not counted as what the slots serve, and the token is in no log and in nobody's hands but the router's", async () => {
    const idle = async (): Promise<unknown> => {
      const now = JSON.parse(await counters()) as Record<SlotName, { open: number }>;
      return now.blue.open === 0 && now.green.open === 0 ? now : undefined;
    };
    // A request is counted a moment after its answer.
    const before = await eventually("no request is open", idle, 5);
    for (let i = 0; i < 5; i++) {
      await ask("/missing", { headers: { "x-togather-preview": token } });
      await ask(`/_togather/preview?token=${token}`);
      expect((await ask("/_togather/preview?token=bad")).headers["x-togather-slot"]).toBeUndefined();
    }
    expect(await eventually("no request is open", idle, 5)).toEqual(before);
    expect(await inRouter("curl", "--silent", "http://127.0.0.1:9145/metrics")).toMatch(
      /^togather_router_preview_requests_total\{slot="blue",code="4xx"\} [5-9]/m,
    );
    await sleep(1_500);
    const { all } = await execa("docker", ["logs", `${prefix}-router`], { all: true });
    const key = await inRouter("cat", "/router/state/preview.key");
    expect(key).toMatch(/^[A-Za-z0-9+/]{43}=$/);
    expect(await inRouter("stat", "--format", "%a %U %G", "/router/state/preview.key")).toBe("640 root www-data");
    for (const secret of [token.split(".")[3] ?? "", key]) {
      expect(all).not.toContain(secret);
      expect(await docker("inspect", `${prefix}-router`)).not.toContain(secret);
    }
  });

  it("keeps its slot when that serves, and after a restart", async () => {
    await switchTo("blue");
    const { token: green } = await makeToken("green");
    for (const [one, slot] of [
      [token, "blue"],
      [green, "green"],
    ] as const)
      expect((await ask("/page", { headers: { "x-togather-preview": one } })).body).toBe(slot);
    await docker("restart", "--time", "1", `${prefix}-router`);
    await untilRouterAnswers();
    expect((await ask("/page", { headers: { "x-togather-preview": green } })).body).toBe("green");
    expect((await ask("/page")).body).toBe("blue");
  });

  it("says so when nothing runs there", async () => {
    const { token: green } = await makeToken("green");
    await docker("stop", "--time", "1", `${prefix}-green`);
    const answer = await ask("/page", { headers: { "x-togather-preview": green } });
    // Its address is gone: whether that is noticed at once or after the connect timeout is the kernel's business.
    expect(answer.body).toMatch(/slot green (does not answer|did not answer in time)/);
    expect([502, 504]).toContain(answer.status);
    expect((await ask("/page")).status).toBe(200);
    await docker("start", `${prefix}-green`);
  });
});

describe("behind proxies", () => {
  /** The router sees these tests as Docker's gateway. */
  const peer = `${subnet}.1`;
  const visitors = { trusted: [peer, "198.51.100.0/24", "2001:db8:ffff::/48"], proxyProtocol: false };
  const balancer = { trusted: [peer], proxyProtocol: true, publicHttpsPort: 443 };
  const behind = { ...visitors, publicHttpsPort: 443 };
  const internalUrl = `http://${address.router}:${internalPort}`;
  let env: NodeJS.ProcessEnv;

  beforeAll(async () => {
    for (const slot of ["blue", "green"] as const) await startSlot(slot, health[slot]);
    const pair = await generate([{ name: "commonName", value: "localhost" }]);
    env = { TLS_CERTIFICATE: pair.cert, TLS_KEY: pair.private };
    await configure();
    await switchTo("green");
  });
  afterAll(async () => {
    await configure();
  });

  const told = async (headers: RequestOptions["headers"], secure = false): Promise<Record<string, string>> =>
    JSON.parse((await ask("/headers", { headers, secure })).body) as Record<string, string>;
  const forwarded = async (chain: string): Promise<string | undefined> =>
    (await told({ "x-forwarded-for": chain }))["x-forwarded-for"];

  /** The answer to raw bytes; "" for a connection that is closed without one. */
  function send(...bytes: (string | Buffer)[]): Promise<string> {
    return new Promise((resolve, reject) => {
      let got = "";
      const socket = connect(port, "127.0.0.1", () =>
        socket.write(Buffer.concat(bytes.map((one) => Buffer.from(one)))),
      );
      socket
        .on("data", (data: Buffer) => (got += data.toString()))
        .on("error", reject)
        .on("close", () => {
          resolve(got);
        });
    });
  }
  const plain =
    "GET /headers HTTP/1.1\r\nHost: events.example\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 1.2.3.4\r\nConnection: close\r\n\r\n";
  /** PROXY protocol, version 2. @param https the balancer says that it has ended TLS. */
  function version2(source: Buffer, target: Buffer, { https = false, command = 1, port: at = 80 } = {}): Buffer {
    const ports = Buffer.from([0xc8, 0x01, at >> 8, at & 0xff]);
    // PP2_TYPE_SSL: client flags, verify, and the version as a sub-TLV.
    const version = Buffer.from("\x21\x00\x07TLSv1.3", "latin1");
    const body = Buffer.concat([Buffer.from([1, 0, 0, 0, 0]), version]);
    const tlv = https ? Buffer.concat([Buffer.from([0x20, 0, body.length]), body]) : Buffer.alloc(0);
    const length = source.length + target.length + ports.length + tlv.length;
    return Buffer.concat([
      Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1"),
      Buffer.from([0x20 | command, source.length === 4 ? 0x11 : 0x21, length >> 8, length & 0xff]),
      ...[source, target, ports, tlv],
    ]);
  }
  const four = (text: string): Buffer => Buffer.from(text.split(".").map(Number));
  const six = (last: number): Buffer => Buffer.from([0x20, 0x01, 0x0d, 0xb8, ...Array<number>(11).fill(0), last]);
  const toldIn = (answer: string): Record<string, string> =>
    JSON.parse(/\{.*\}/s.exec(answer)?.[0] ?? "{}") as Record<string, string>;

  it("believes nobody whom it does not know", async () => {
    await configure({ tls: true, redirectToHttpsPort: 443, proxies: { ...behind, trusted: ["198.51.100.0/24"] } }, env);
    const claims = {
      "x-forwarded-for": "203.0.113.7, 198.51.100.2",
      "x-forwarded-proto": "https",
      "x-real-ip": "1.2.3.4",
    };
    expect((await ask("/headers", { headers: claims })).status).toBe(308);
    expect(await told({ ...claims, "x-forwarded-proto": "http" }, true)).toMatchObject({
      "x-forwarded-for": peer,
      "x-real-ip": peer,
      "x-forwarded-proto": "https",
    });
  });

  it("goes through as many trusted ones as there are to the visitor, IPv6 or not, and no further", async () => {
    await configure({ proxies: behind });
    const chains: Record<string, string> = {
      "203.0.113.7": "203.0.113.7",
      "203.0.113.7:50123": "203.0.113.7",
      "203.0.113.7, 198.51.100.2": "203.0.113.7",
      "1.2.3.4, 203.0.113.7, 198.51.100.2, 198.51.100.3": "203.0.113.7",
      "203.0.113.7, 2001:db8:ffff::5": "203.0.113.7",
      "2001:db8:1::7, 2001:db8:ffff::5, 198.51.100.2": "2001:db8:1::7",
      "nonsense, 203.0.113.7": "203.0.113.7",
      // An invalid address says nothing about those before it.
      "203.0.113.7, nonsense, 198.51.100.2": "198.51.100.2",
    };
    const found: Record<string, string | undefined> = {};
    for (const chain of Object.keys(chains)) found[chain] = await forwarded(chain);
    expect(found).toEqual(chains);
    // In two headers, as a proxy may add its own.
    const twice = ["X-Forwarded-For", "1.2.3.4, 203.0.113.7", "x-forwarded-for", "198.51.100.2", "Host", "a.example"];
    expect(await told(twice)).toMatchObject({ "x-forwarded-for": "203.0.113.7", "x-real-ip": "203.0.113.7" });
    // Other headers of a visitor pass neither router nor proxy.
    expect(
      await told({ "x-forwarded-for": "203.0.113.7", forwarded: "for=1.2.3.4", "true-client-ip": "1.2.3.4" }),
    ).not.toMatchObject({ forwarded: expect.anything() as unknown });
    expect((await told({}))["x-forwarded-for"]).toBe(peer);
    await sleep(1_200);
    const { stdout } = await execa("docker", ["logs", "--tail=30", `${prefix}-router`]);
    const addresses = stdout.split("\n").map((line) => (JSON.parse(line) as { remote_addr: string }).remote_addr);
    expect(addresses).toEqual(expect.arrayContaining(["203.0.113.7", "2001:db8:1::7", "198.51.100.2"]));
  });

  it.each([
    ["with a certificate of its own", true],
    ["where the balancer alone has one", false],
  ])("sends nobody to HTTPS who came by it, %s", async (_, tls) => {
    await configure({ tls, redirectToHttpsPort: 443, proxies: behind }, tls ? env : {});
    const counted = await inRouter("curl", "--silent", "http://127.0.0.1:9145/metrics");
    const requests = (text: string): string[] => text.split("\n").filter((line) => line.includes("requests_total"));
    for (const scheme of [undefined, "http", "HTTP", "https, http", "ftp"]) {
      const headers = { host: "events.example", ...(scheme === undefined ? {} : { "x-forwarded-proto": scheme }) };
      const { status, headers: got } = await ask("/a?b=c", { headers });
      expect([status, got.location, got["x-togather-slot"], got["strict-transport-security"]], scheme).toEqual([
        308,
        "https://events.example/a?b=c",
        undefined,
        undefined,
      ]);
    }
    await sleep(1_200);
    expect(requests(await inRouter("curl", "--silent", "http://127.0.0.1:9145/metrics"))).toEqual(requests(counted));
    for (const scheme of ["https", "HTTPS", "https, https"]) {
      const { status, headers, body } = await ask("/headers", { headers: { "x-forwarded-proto": scheme } });
      expect([status, headers["strict-transport-security"], toldIn(body)["x-forwarded-proto"]], scheme).toEqual([
        200,
        "max-age=31536000",
        "https",
      ]);
    }
    if (tls) expect(await told({}, true)).toMatchObject({ "x-forwarded-proto": "https" });
    const link = await ask("/_togather/preview?token=", { headers: { "x-forwarded-proto": "https" } });
    expect(link.headers["set-cookie"]?.[0]).toMatch(/; Secure$/);
    expect((await ask("/_togather/refusal", { headers: { "x-forwarded-proto": "https" } })).status).toBe(404);
    expect(await send("nonsense\r\n\r\n")).toMatch(/^HTTP\/1\.1 400 /);
    // The deployment itself still gets through.
    const checks = [{ path: "/health", status: 200 }];
    for (const slot of ["blue", "green"] as const)
      expect(
        await switchTo(slot, {
          release: { ...releases[slot], commit: `${releases[slot].commit.slice(0, -1)}${tls ? "1" : "2"}` },
          checks,
          ...(tls ? {} : { routerUrl: internalUrl }),
        }),
      ).toMatchObject({ to: slot });
  });

  it("limits rates, and draws for a canary, by the visitor", async () => {
    await configure({ rateLimit: { requestsPerSecond: 1, burst: 1 }, proxies: behind });
    const of = (visitor: string): Promise<number[]> =>
      Promise.all(
        [1, 2, 3].map(async () => (await ask("/page", { headers: { "x-forwarded-for": visitor } })).status),
      ).then((all) => all.sort());
    expect(await Promise.all([of("203.0.113.7"), of("203.0.113.8"), of("2001:db8:1::7")])).toEqual(
      Array(3).fill([200, 200, 429]),
    );
    await configure({ proxies: behind });
    await inRouter(
      ...["curl", "--silent", "--unix-socket", "/router/run/control.sock", "--request", "PUT"],
      ...["--data", '{"slot":"blue","percent":50,"sticky":true}', "http://router/canary"],
    );
    const slots = new Map<string, Set<unknown>>();
    for (let i = 0; i < 60; i++) {
      const visitor = `203.0.113.${i % 20}`;
      const { headers } = await ask("/page", { headers: { "x-forwarded-for": visitor } });
      slots.set(visitor, (slots.get(visitor) ?? new Set()).add(headers["x-togather-slot"]));
    }
    await control("PUT", '{"slot":"green"}');
    expect([...slots.values()].map((seen) => seen.size)).toEqual(Array(20).fill(1));
    expect(new Set([...slots.values()].flatMap((seen) => [...seen]))).toEqual(new Set(["blue", "green"]));
  });

  it("takes the visitor from a PROXY protocol header of either version, and no other claim", async () => {
    await configure({ proxies: balancer });
    const v1 = "PROXY TCP4 203.0.113.7 192.0.2.1 51201 80\r\n";
    const answers = {
      v1: await send(v1, plain),
      "v1, IPv6": await send("PROXY TCP6 2001:db8:1::7 2001:db8::1 51201 80\r\n", plain),
      v2: await send(version2(four("203.0.113.7"), four("192.0.2.1")), plain),
      "v2, IPv6": await send(version2(six(7), six(1)), plain),
      "v2, TLS": await send(version2(four("203.0.113.7"), four("192.0.2.1"), { https: true, port: 8000 }), plain),
      "port 443": await send("PROXY TCP4 203.0.113.7 192.0.2.1 51201 443\r\n", plain),
      unknown: await send("PROXY UNKNOWN\r\n", plain),
      "v2, the balancer's own": await send(version2(four("203.0.113.7"), four("192.0.2.1"), { command: 0 }), plain),
    };
    expect(
      Object.entries(answers).map(([name, answer]) => {
        const { "x-forwarded-for": visitor, "x-real-ip": real, "x-forwarded-proto": scheme } = toldIn(answer);
        return [name, visitor, real === visitor, scheme, /^strict-transport-security:/im.test(answer)];
      }),
    ).toEqual([
      ["v1", "203.0.113.7", true, "http", false],
      ["v1, IPv6", "2001:db8:1::7", true, "http", false],
      ["v2", "203.0.113.7", true, "http", false],
      ["v2, IPv6", "2001:db8::7", true, "http", false],
      ["v2, TLS", "203.0.113.7", true, "https", true],
      ["port 443", "203.0.113.7", true, "https", true],
      ["unknown", peer, true, "http", false],
      ["v2, the balancer's own", peer, true, "http", false],
    ]);
    // A client without the header gets no access, and no log has its request.
    expect(await send(plain.replace("/headers", "/headers?access_token=not-for-logs"))).toBe("");
    const { stdout, stderr } = await execa("docker", ["logs", `${prefix}-router`], { maxBuffer: 1e9 });
    expect(`${stdout}${stderr}`).not.toContain("not-for-logs");
    // By HTTPS that the router ends itself.
    await configure({ tls: true, redirectToHttpsPort: 443, proxies: balancer }, env);
    expect(await send(v1, plain)).toMatch(/^HTTP\/1\.1 308 /);
    const secure = await new Promise<string>((resolve, reject) => {
      let got = "";
      const socket = connect(tlsPort, "127.0.0.1", () => {
        socket.write(v1);
        const encrypted = tlsConnect({ socket, rejectUnauthorized: false }, () => encrypted.write(plain));
        encrypted
          .on("data", (data: Buffer) => (got += data.toString()))
          .on("error", reject)
          .on("close", () => {
            resolve(got);
          });
      });
    });
    expect(toldIn(secure)).toMatchObject({ "x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https" });
    // The deployment's own questions need none.
    await expect(switchTo("blue")).rejects.toThrow(/blue/);
    for (const slot of ["blue", "green"] as const)
      expect(await switchTo(slot, { routerUrl: internalUrl })).toMatchObject({ to: slot });
    // A header of somebody who is no balancer of ours says nothing.
    await configure({ proxies: { ...balancer, trusted: ["198.51.100.2"] } });
    expect(toldIn(await send("PROXY TCP4 203.0.113.7 192.0.2.1 51201 443\r\n", plain))).toMatchObject({
      "x-forwarded-for": peer,
      "x-forwarded-proto": "http",
    });
  });
});
