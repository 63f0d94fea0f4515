/**
 * Parts that all ways share: a private network, two slots with the benchmark's server, an nginx in front, clients on
 * its loopback.
 */
import { randomBytes, randomInt } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { build } from "../../../ops/client/build.ts";
import type { StepContext } from "../../../ops/contract/context.ts";
import { containerPaths } from "../../../ops/contract/context.ts";
import type { SlotName } from "../../../ops/contract/steps.ts";
import { bundledImageDigest, bundledImageTag, type BundledImage } from "../../../ops/image.ts";
import { eventually } from "../../step-harness.ts";
import type { LoadResult } from "./load-result.ts";

const image = "togather-bench-traffic";
const quiet = (): void => undefined;

export async function docker(...args: string[]): Promise<string> {
  return (await execa("docker", args, { stdin: "ignore" })).stdout;
}

export interface LoadOptions {
  /** Clients of each method without think time, and their pause in ms. */
  busy: number;
  pauseMs: number;
  /** Clients of each method with think time, 20 ms on average. */
  thinking: number;
}

/** Running clients; `stop` returns their results. */
export interface Load {
  stop: () => Promise<LoadResult>;
}

export class Site {
  readonly name = `bench-${randomBytes(4).toString("hex")}`;
  readonly prefix = `togather-${this.name}`;
  readonly subnet = `10.215.${randomInt(256)}`;
  readonly address = { blue: `${this.subnet}.10`, green: `${this.subnet}.11`, router: `${this.subnet}.5` };
  readonly directory = mkdtempSync(join(tmpdir(), `${this.prefix}-`));
  readonly context: StepContext = {
    log: { debug: quiet, info: quiet, success: quiet, warn: quiet, error: quiet },
    signal: new AbortController().signal,
    env: process.env,
    payload: () => Promise.resolve(Buffer.alloc(0)),
    paths: containerPaths,
  };

  async create(): Promise<void> {
    for (const kind of ["nginx", "ops"] satisfies BundledImage[]) {
      await build(
        {
          contract: 1,
          name: this.name,
          environment: "staging",
          source: { kind: "bundled", image: kind, digest: bundledImageDigest(kind) },
          dockerfile: "Dockerfile",
          tag: bundledImageTag(kind),
        },
        this.context,
      );
    }
    await docker("build", "--quiet", "--tag", image, join(import.meta.dirname, "client"));
    mkdirSync(join(this.directory, "data"));
    await docker("network", "create", "--subnet", `${this.subnet}.0/24`, this.prefix);
    await docker("volume", "create", `${this.prefix}-files`);
  }

  /** Starts a slot's server, and returns once it answers. */
  async startSlot(slot: SlotName, version = "v1.0.0"): Promise<void> {
    await docker(
      ...[
        "run",
        "--detach",
        "--init",
        `--name=${this.prefix}-${slot}`,
        `--network=${this.prefix}`,
        `--ip=${this.address[slot]}`,
        "--stop-timeout=30",
      ],
      ...[
        `--volume=${join(this.directory, "data")}:/data`,
        image,
        "serve",
        "-slot",
        slot,
        "-version",
        version,
        "-ledger",
        `/data/ledger-${slot}`,
      ],
    );
    await eventually(
      `${slot} answers`,
      async () => (await fetch(`http://${this.address[slot]}:8080/health`, { headers: { connection: "close" } })).ok,
    );
  }

  /** Stops it with SIGTERM, which drains it. */
  async stopSlot(slot: SlotName): Promise<void> {
    await docker("stop", "--time", "30", `${this.prefix}-${slot}`);
    await docker("rm", `${this.prefix}-${slot}`);
  }

  async removeRouter(): Promise<void> {
    await execa("docker", ["rm", "--force", "--volumes", `${this.prefix}-router`], { reject: false });
  }

  /** Clients in the router's own network namespace: its loopback, whatever the engine is. */
  async startLoad({ busy, pauseMs, thinking }: LoadOptions): Promise<Load> {
    const client = execa(
      "docker",
      [
        ...[
          "run",
          "--rm",
          "--interactive",
          `--name=${this.prefix}-load`,
          `--network=container:${this.prefix}-router`,
          `--volume=${join(this.directory, "data")}:/data`,
        ],
        ...[
          image,
          "load",
          "-address",
          "127.0.0.1:8080",
          "-busy",
          String(busy),
          "-pause",
          `${pauseMs}ms`,
          "-thinking",
          String(thinking),
          "-acknowledged",
          "/data/acknowledged",
        ],
      ],
      { stdin: "pipe", maxBuffer: 1 << 30 },
    );
    await eventually(
      "the clients run",
      async () => (await docker("inspect", "--format={{.State.Running}}", `${this.prefix}-load`)) === "true",
    );
    return {
      stop: async () => {
        client.stdin.end();
        return JSON.parse((await client).stdout) as LoadResult;
      },
    };
  }

  /** Compares the ledger with the clients' acknowledged writes: missing ones, and duplicates. */
  ledger(): { acknowledged: number; missing: number; twice: number } {
    const lines = (file: string): string[] => {
      try {
        return readFileSync(join(this.directory, "data", file), "utf8")
          .split("\n")
          .filter(Boolean);
      } catch {
        return [];
      }
    };
    const written = new Map<string, number>();
    for (const id of [...lines("ledger-blue"), ...lines("ledger-green")]) written.set(id, (written.get(id) ?? 0) + 1);
    const acknowledged = lines("acknowledged");
    return {
      acknowledged: acknowledged.length,
      missing: acknowledged.filter((id) => !written.has(id)).length,
      twice: [...written.values()].filter((count) => count > 1).length,
    };
  }

  /** An empty ledger for the next way. */
  async forget(): Promise<void> {
    await docker(
      "run",
      "--rm",
      `--volume=${join(this.directory, "data")}:/data`,
      "debian:trixie-slim",
      "sh",
      "-c",
      "rm -f /data/*",
    );
  }

  async remove(): Promise<void> {
    await execa(
      "docker",
      ["rm", "--force", "--volumes", ...["load", "router", "blue", "green"].map((part) => `${this.prefix}-${part}`)],
      { reject: false },
    );
    await execa("docker", ["volume", "rm", "--force", `${this.prefix}-files`], { reject: false });
    await execa("docker", ["network", "rm", this.prefix], { reject: false });
    await this.forget().catch(() => undefined);
    rmSync(this.directory, { recursive: true, force: true });
  }
}
