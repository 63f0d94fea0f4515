import { randomBytes } from "node:crypto";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { execa } from "execa";
import { bundledImageTag, type BundledImage } from "../../ops/image.ts";
import { eventually } from "../step-harness.ts";
import { freePort } from "./addresses.ts";
import { buildImages } from "./bundled-images.ts";

const image = "togather-test-docker-host";
const root = process.getuid?.() === 0;

/** A program that this machine lacks is installed where that is possible, as set-up does with Docker. */
async function ensureSsh(): Promise<void> {
  if (!(await execa("ssh", ["-V"], { reject: false })).failed) return;
  if (!root) throw new Error("ssh is not installed (Debian: apt-get install openssh-client)");
  await execa("apt-get", ["install", "--yes", "--no-install-recommends", "openssh-client"], {
    env: { DEBIAN_FRONTEND: "noninteractive" },
  });
}

/** Another machine with its own engine: a container in which dockerd and sshd run. */
export class DockerHost {
  /** The address for `togather:host`. */
  readonly address = "ssh://root@events.test";
  /** Environment in which that machine is found: an `ssh` with its address and key, first on PATH. */
  readonly environment: NodeJS.ProcessEnv;
  /** The port of this machine's loopback that leads to `publicPort` of the other. */
  readonly forwardedPort: number;
  private readonly name: string;
  private readonly directory: string;

  private constructor(name: string, directory: string, forwardedPort: number) {
    this.name = name;
    this.directory = directory;
    this.forwardedPort = forwardedPort;
    this.environment = { PATH: `${directory}${delimiter}${process.env["PATH"] ?? ""}` };
  }

  /** Starts the machine. @param publicPort the one of its ports that can be reached from here. */
  static async start(publicPort: number): Promise<DockerHost> {
    await ensureSsh();
    await execa("docker", ["build", "--quiet", "--tag", image, join(import.meta.dirname, "../docker-host")]);
    const directory = mkdtempSync(join(tmpdir(), "togather-test-host-"));
    const key = join(directory, "key");
    await execa("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", key]);
    const [sshPort, forwardedPort] = [await freePort(), await freePort()];
    const host = new DockerHost(`togather-test-host-${randomBytes(4).toString("hex")}`, directory, forwardedPort);
    const config = join(directory, "config");
    writeFileSync(
      config,
      `Host events.test\n  HostName 127.0.0.1\n  Port ${sshPort}\n  IdentityFile ${key}\n  IdentitiesOnly yes\n  UserKnownHostsFile ${directory}/known\n  StrictHostKeyChecking accept-new\n  LogLevel ERROR\n`,
    );
    writeFileSync(
      join(directory, "ssh"),
      `#!/bin/sh\nPATH='${process.env["PATH"] ?? ""}' exec ssh -F '${config}' "$@"\n`,
    );
    chmodSync(join(directory, "ssh"), 0o755);
    await execa(
      "docker",
      [
        ...[
          "run",
          "--detach",
          `--name=${host.name}`,
          "--env=AUTHORIZED_KEY",
          `--publish=127.0.0.1:${sshPort}:22`,
          `--publish=127.0.0.1:${forwardedPort}:${publicPort}`,
        ],
        // The rights of --privileged, without the one capability that an engine in a virtual machine may lack itself.
        ...[
          "--cap-add=ALL",
          "--cap-drop=SYS_RESOURCE",
          "--security-opt=seccomp=unconfined",
          "--security-opt=apparmor=unconfined",
          "--security-opt=systempaths=unconfined",
        ],
        ...["--cgroupns=host", "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw", image],
      ],
      { env: { AUTHORIZED_KEY: readFileSync(`${key}.pub`, "utf8").trim() } },
    );
    try {
      await eventually("the engine of the other machine", async () => (await host.docker("version")) !== "");
    } catch (error) {
      const { all } = await execa("docker", ["logs", "--tail=20", host.name], { all: true, reject: false });
      await host.remove();
      throw new Error(all, { cause: error });
    }
    return host;
  }

  /** The Docker client, as it works with that machine from here. */
  async docker(...args: string[]): Promise<string> {
    return (await execa("docker", args, { stdin: "ignore", env: { ...this.environment, DOCKER_HOST: this.address } }))
      .stdout;
  }

  /** A command on that machine. */
  async run(...command: string[]): Promise<string> {
    return (await execa("docker", ["exec", this.name, ...command], { stdin: "ignore" })).stdout;
  }

  /** Hands over the base image and this project's own, which are built here if they aren't yet: it need not build or pull them itself. */
  async load(...images: BundledImage[]): Promise<void> {
    await buildImages(...images);
    await execa("docker", ["save", "debian:trixie-slim", ...images.map((kind) => bundledImageTag(kind))], {
      buffer: false,
      maxBuffer: 0,
    }).pipe("docker", ["exec", "--interactive", this.name, "docker", "load"]);
  }

  /** Removes the machine and all that it holds. */
  async remove(): Promise<void> {
    await execa("docker", ["rm", "--force", "--volumes", this.name], { reject: false });
    rmSync(this.directory, { recursive: true, force: true });
  }
}
