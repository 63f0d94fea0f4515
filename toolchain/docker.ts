import { spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { installPackages } from "./apt.ts";
import { isAtLeast } from "./is-at-least.mjs";
import { findProgram, type Machine } from "./machine.ts";
import { Problem } from "./problem.ts";
import { run, tail, type RunResult } from "./run.ts";
import type { Report, Step } from "./step.ts";
import { currentContext } from "../ops/host/docker-context.ts";

const OLDEST_ENGINE = "20.10.0";
const START_LIMIT = 60_000;
/** Wait after dockerd has ended, since another one may be starting (ms). */
const AFTER_END = 5_000;
const ENGINE_LOG = "/var/log/togather-dockerd.log";

/** Asks the engine that the Docker client is set up for: DOCKER_HOST, a context, or the local one. */
async function askEngine(machine: Machine): Promise<RunResult> {
  return run("docker", ["version", "--format", "{{.Server.Version}}"], { env: machine.env, timeLimit: 20_000 });
}

function checkVersion(version: string): string {
  if (!isAtLeast(version, OLDEST_ENGINE)) {
    throw new Problem(
      `The Docker engine is ${version}; this project needs ${OLDEST_ENGINE} or newer. Upgrade it: https://docs.docker.com/engine/install/`,
    );
  }
  return version;
}

/** The engine is somewhere that was chosen by the user, so that starting one here would be wrong. */
async function chosenEngine(machine: Machine): Promise<string | undefined> {
  if (machine.env.DOCKER_HOST) return `DOCKER_HOST=${machine.env.DOCKER_HOST}`;
  const { ok, stdout } = await run("docker", ["context", "show"], { env: machine.env, timeLimit: 5_000 });
  return ok && stdout !== "default" ? `the Docker context "${stdout}"` : undefined;
}

/** Starts the installed engine for good: it must outlive npm. Where no systemd does it, it's done by hand. */
async function startEngine(machine: Machine, report: Report): Promise<string> {
  let deadline = Date.now() + START_LIMIT;
  if (existsSync("/run/systemd/system")) {
    report("Starting it with systemd");
    await run("systemctl", ["start", "docker"], { env: machine.env, timeLimit: START_LIMIT });
  } else {
    report(`Starting dockerd, which logs to ${ENGINE_LOG}`);
    const log = openSync(ENGINE_LOG, "a");
    // A session of its own, so that neither Ctrl-C nor the end of npm stops it.
    const daemon = spawn("dockerd", [], { cwd: "/", detached: true, stdio: ["ignore", log, log], env: machine.env });
    const ended = () => {
      deadline = Math.min(deadline, Date.now() + AFTER_END);
    };
    daemon.once("error", ended);
    daemon.once("exit", ended);
    daemon.unref();
    closeSync(log);
  }
  while (Date.now() < deadline) {
    const answer = await askEngine(machine);
    if (answer.ok) return checkVersion(answer.stdout);
    await sleep(300);
  }
  const log = existsSync(ENGINE_LOG)
    ? `\nThe end of ${ENGINE_LOG}:\n${tail(readFileSync(ENGINE_LOG, "utf8").trim())}`
    : "\nSee: journalctl -u docker";
  throw new Problem(`The Docker engine was started, but doesn't answer.${log}`);
}

async function supplyEngine(machine: Machine, report: Report): Promise<string> {
  if (findProgram("docker", machine.env)) {
    const { output } = await askEngine(machine);
    const chosen = await chosenEngine(machine);
    if (chosen) {
      throw new Problem(
        `No Docker engine answers at ${chosen}:\n${tail(output, 3)}\nStart it there, or choose another one (unset DOCKER_HOST, or: docker context use default).`,
      );
    }
    if (/permission denied/i.test(output)) {
      throw new Problem(
        `This user may not use the Docker engine. Allow it, log in again, and run this again:\n  sudo usermod -aG docker "$USER"`,
      );
    }
  }
  if (machine.platform !== "linux")
    throw new Problem(
      "No Docker engine is running: install and start Docker Desktop (https://docs.docker.com/get-docker/), then run this again.",
    );
  if (findProgram("dockerd", machine.env)) {
    if (!machine.isRoot)
      throw new Problem(
        "The Docker engine is installed but not running. Start it, and run this again:\n  sudo systemctl start docker",
      );
    return `${await startEngine(machine, report)}, started`;
  }
  if (!machine.isDebian || !machine.isRoot) {
    const how = machine.isDebian
      ? 'sudo apt-get install docker.io, then: sudo usermod -aG docker "$USER", and log in again'
      : "https://docs.docker.com/engine/install/";
    throw new Problem(`Docker is not installed. Install it and run this again:\n  ${how}`);
  }
  await installPackages(["docker.io", "iptables"], machine, report);
  const answer = await askEngine(machine);
  return `${answer.ok ? checkVersion(answer.stdout) : await startEngine(machine, report)}, installed from this machine's Debian packages and started`;
}

export function dockerEngine(machine: Machine): Step {
  return {
    title: "Docker engine",
    async check() {
      const { ok, stdout } = await askEngine(machine);
      return ok ? checkVersion(stdout) : undefined;
    },
    supply: (report) => supplyEngine(machine, report),
  };
}

/**
 * The address of the engine that the Docker client uses, where that's a context: the docker provider of Pulumi
 * knows DOCKER_HOST only, and both must talk to the same engine.
 */
export function contextHost({ env }: Machine): string | undefined {
  const host = currentContext(env)?.host;
  return host !== undefined && /^(unix|ssh):/.test(host) && host !== "unix:///var/run/docker.sock" ? host : undefined;
}
