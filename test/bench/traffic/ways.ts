/** Four ways to put a new release behind an nginx. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { renderNginxFiles } from "../../../components/nginx/config.ts";
import { run as runRouter } from "../../../ops/client/router.ts";
import type { SlotName, StepRequest, StepResult } from "../../../ops/contract/steps.ts";
import { bundledImageTag, projectDirectory } from "../../../ops/image.ts";
import { eventually } from "../../step-harness.ts";
import { docker, type Site } from "./site.ts";

export interface Way {
  name: string;
  /** Description for the table. */
  what: string;
  start(): Promise<void>;
  /**
   * Replaces the release that serves.
   * @returns the time at which traffic moved, in ms since 1970.
   */
  release(): Promise<number>;
}

const other = (slot: SlotName): SlotName => (slot === "blue" ? "green" : "blue");

/** nginx as the official image runs it, with its log on stdout: one upstream with these servers, changed by writing the file again and `nginx -s reload`. */
class PlainNginx {
  private readonly site: Site;
  private readonly file: string;
  constructor(site: Site) {
    this.site = site;
    const directory = join(site.directory, "nginx");
    mkdirSync(directory, { recursive: true });
    this.file = join(directory, "nginx.conf");
  }

  write(servers: readonly SlotName[]): void {
    const addresses = servers.map((slot) => `server ${this.site.address[slot]}:8080;`).join(" ");
    writeFileSync(
      this.file,
      `user www-data; worker_processes auto; pid /run/nginx.pid; error_log /dev/stderr crit;
events { worker_connections 4096; }
http {
  access_log /dev/stdout combined; keepalive_requests 100000;
  upstream server { ${addresses} keepalive 64; keepalive_requests 100000; }
  server { listen 8080; location / { proxy_pass http://server; proxy_http_version 1.1; proxy_set_header Connection ""; } }
}
`,
    );
  }

  async start(servers: readonly SlotName[]): Promise<void> {
    this.write(servers);
    const { prefix, address, directory } = this.site;
    await docker(
      "run",
      "--detach",
      `--name=${prefix}-router`,
      `--network=${prefix}`,
      `--ip=${address.router}`,
      `--volume=${join(directory, "nginx")}:/bench:ro`,
      "--entrypoint=nginx",
      bundledImageTag("nginx"),
      "-c",
      "/bench/nginx.conf",
      "-g",
      "daemon off;",
    );
    await eventually(
      "nginx answers",
      async () => (await fetch(`http://${address.router}:8080/health`, { headers: { connection: "close" } })).ok,
    );
  }

  async reload(servers: readonly SlotName[]): Promise<number> {
    this.write(servers);
    const at = Date.now();
    await docker("exec", `${this.site.prefix}-router`, "nginx", "-s", "reload", "-c", "/bench/nginx.conf");
    return at;
  }
}

/** This project's router; each release is the real step that switches, in its container. Both slots run. */
export class Ours implements Way {
  readonly name = "togather";
  readonly what = "the router and the step `switch` as a stack runs them; both slots run";
  private readonly site: Site;
  private active: SlotName = "blue";
  constructor(site: Site) {
    this.site = site;
  }

  async start(): Promise<void> {
    const { name, prefix, address } = this.site;
    await this.site.startSlot("blue");
    await this.site.startSlot("green");
    const files = renderNginxFiles({
      slots: { blue: `${address.blue}:8080`, green: `${address.green}:8080` },
      tls: false,
    });
    await runRouter(
      {
        contract: 1,
        name,
        environment: "staging",
        image: bundledImageTag("nginx"),
        volume: `${prefix}-files`,
        containerName: `${prefix}-router`,
        files,
      },
      this.site.context,
    );
    await docker(
      "run",
      "--detach",
      `--name=${prefix}-router`,
      `--network=${prefix}`,
      `--ip=${address.router}`,
      `--volume=${prefix}-files:/router`,
      "--log-driver=json-file",
      "--log-opt=max-size=10m",
      "--log-opt=max-file=3",
      bundledImageTag("nginx"),
    );
    await this.to("blue");
  }

  async release(): Promise<number> {
    this.active = other(this.active);
    return Date.parse((await this.to(this.active)).switchedAt);
  }

  private async to(slot: SlotName): Promise<StepResult<"switch">> {
    const { name, prefix, address, directory } = this.site;
    const request: StepRequest<"switch"> = {
      contract: 1,
      name,
      environment: "staging",
      stateLocation: join(directory, "state"),
      logLocation: join(directory, "logs"),
      network: prefix,
      activeSlot: slot,
      release: { version: "v1.0.0", commit: "a".repeat(40) },
      volume: `${prefix}-files`,
      routerContainerId: "-",
      slotUrl: `http://${address[slot]}:8080`,
      routerUrl: `http://${address.router}:8080`,
      healthPath: "/health",
      checks: [],
      rollout: { steps: [], intervalMs: 0, bakeMs: 0, sticky: false },
    };
    const { stdout } = await execa(process.execPath, [join(projectDirectory, "ops/main.ts"), "switch"], {
      env: { TOGATHER_REQUEST: JSON.stringify(request) },
    });
    return JSON.parse(stdout) as StepResult<"switch">;
  }
}

/** The old script's intention: rewrite the upstream, `nginx -s reload`. Both slots run. */
export class Reload implements Way {
  readonly name = "reload";
  readonly what = "the upstream rewritten, `nginx -s reload`; both slots run";
  private readonly site: Site;
  private readonly nginx: PlainNginx;
  private active: SlotName = "blue";
  constructor(site: Site) {
    this.site = site;
    this.nginx = new PlainNginx(site);
  }

  async start(): Promise<void> {
    await this.site.startSlot("blue");
    await this.site.startSlot("green");
    await this.nginx.start(["blue"]);
  }

  release(): Promise<number> {
    this.active = other(this.active);
    return this.nginx.reload([this.active]);
  }
}

/** `docker compose up` with a new image: the old container stops, then the new one starts. */
export class Recreate implements Way {
  readonly name = "recreate";
  readonly what = "the container is stopped and started again, behind an nginx with one upstream";
  private readonly site: Site;
  private readonly nginx: PlainNginx;
  constructor(site: Site) {
    this.site = site;
    this.nginx = new PlainNginx(site);
  }

  async start(): Promise<void> {
    await this.site.startSlot("blue");
    await this.nginx.start(["blue"]);
  }

  async release(): Promise<number> {
    const at = Date.now();
    await this.site.stopSlot("blue");
    await this.site.startSlot("blue");
    return at;
  }
}

/**
 * docker-rollout with a proxy that watches containers: the new one starts and is added, the old one stops and is
 * removed. The proxy here is nginx reloaded at both events, like nginx-proxy; Traefik can't be downloaded on this
 * machine.
 */
export class Rollout implements Way {
  readonly name = "start, then stop";
  readonly what =
    "the new container starts and joins the upstream, the old one stops and leaves it; nginx is reloaded at both";
  private readonly site: Site;
  private readonly nginx: PlainNginx;
  private active: SlotName = "blue";
  constructor(site: Site) {
    this.site = site;
    this.nginx = new PlainNginx(site);
  }

  async start(): Promise<void> {
    await this.site.startSlot("blue");
    await this.nginx.start(["blue"]);
  }

  async release(): Promise<number> {
    const old = this.active;
    this.active = other(old);
    await this.site.startSlot(this.active);
    const at = await this.nginx.reload(["blue", "green"]);
    await this.site.stopSlot(old);
    await this.nginx.reload([this.active]);
    return at;
  }
}

/** No release: plain nginx with one static upstream, the baseline for the router's throughput. */
export class Static implements Way {
  readonly name = "static";
  readonly what = "plain nginx with one static upstream";
  private readonly site: Site;
  constructor(site: Site) {
    this.site = site;
  }

  async start(): Promise<void> {
    await this.site.startSlot("blue");
    await new PlainNginx(this.site).start(["blue"]);
  }

  release(): Promise<number> {
    return Promise.reject(new Error("nothing to release"));
  }
}
