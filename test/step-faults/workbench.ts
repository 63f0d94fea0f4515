/** Runs steps in a permanent container, with production's options for `ops`, and cuts them short at a chosen write. */
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { encodeAlive, encodeAnswer, encodeStart, questionIn } from "../../ops/contract/channel.ts";
import type { StepName, StepRequest, StepResult } from "../../ops/contract/steps.ts";
import { bundledImageTag } from "../../ops/image.ts";
import { docker, eventually, type Environment, type Harness } from "../step-harness.ts";

/** A fault of a step, and the write at which it comes; see hook.mjs. */
export interface Fault {
  kind: "kill" | "tear" | "full" | "stop";
  at: Write;
}

/** A write of a step. */
export interface Write {
  /** Its number among writes of this kind, from 1. */
  nth: number;
  /** `open`, `write`, `sync`, `rename`, `rm`, `spawn`, `send` and so on. */
  what: string;
  /** Path, program, SQL or request. */
  where: string;
}

export interface Ended<S extends StepName> {
  exitCode: number | undefined;
  /** Its output, without the hook's own lines. */
  said: string;
  writes: Write[];
  /** Undefined where it has none. */
  result: StepResult<S> | undefined;
}

/** Fields of a request that the workbench fills in. */
type Own<S extends StepName> = Omit<
  StepRequest<S>,
  "contract" | "name" | "environment" | "stateLocation" | "logLocation" | "network" | "backupLocation" | "volume"
>;

export class Workbench {
  private readonly harness: Harness;
  readonly container: string;
  private readonly disks: Record<string, string>;

  /** @param disks mounts of the container beside the harness' directories, or in their place: `--volume` or `--tmpfs` by path. */
  constructor(harness: Harness, label: string, disks: Record<string, string> = {}) {
    this.harness = harness;
    this.container = `togather-${harness.name}-${label}`;
    this.disks = disks;
  }

  /** The path of a container's disk on this machine. */
  directory(disk: "state" | "logs" | "backups"): string {
    return join(this.harness.directory, disk);
  }

  async setUp(): Promise<void> {
    const own = ["state", "logs", "backups"] as const;
    await Promise.all(own.map((disk) => mkdir(this.directory(disk), { recursive: true })));
    const mounts = {
      ...Object.fromEntries(own.map((disk) => [`/${disk}`, `--volume=${this.directory(disk)}:/${disk}`])),
      ...this.disks,
    };
    await docker(
      ...["run", "--detach", `--name=${this.container}`, `--network=${this.harness.network}`, "--read-only"],
      ...["--tmpfs=/tmp", "--security-opt=no-new-privileges", "--cap-drop=ALL"],
      ...["--cap-add=CHOWN", "--cap-add=DAC_OVERRIDE", "--cap-add=FOWNER", "--cap-add=KILL"],
      ...Object.values(mounts),
      `--volume=${join(import.meta.dirname, "hook.mjs")}:/hook.mjs:ro`,
      ...["--entrypoint=bash", bundledImageTag("ops"), "-c", "while :; do sleep 1000 & wait; done"],
    );
  }

  async inside(script: string): Promise<string> {
    const { stdout } = await execa("docker", ["exec", this.container, "sh", "-c", script], { reject: false });
    return stdout;
  }

  /** Empties directories of the harness. */
  async clear(...disks: ("state" | "logs" | "backups")[]): Promise<void> {
    for (const disk of disks)
      for (const file of await readdir(this.directory(disk)))
        await rm(join(this.directory(disk), file), { recursive: true, force: true });
  }

  /** Runs a step, with a fault or without. The fault `stop` is over after `stoppedMs` and what is done meanwhile. */
  async run<S extends StepName>(
    step: S,
    request: Own<S>,
    {
      fault,
      environment = {},
      payload = Buffer.alloc(0),
      stoppedMs = 0,
      whileStopped = () => Promise.resolve(),
      silenceMs = 0,
      answer = () => ({ files: null }),
    }: {
      fault?: Fault | undefined;
      environment?: Environment;
      payload?: Buffer;
      stoppedMs?: number;
      whileStopped?: () => Promise<unknown>;
      silenceMs?: number;
      /** Answers what the step asks. */
      answer?: (question: unknown) => unknown;
    } = {},
  ): Promise<Ended<S>> {
    const { name, network, directory } = this.harness;
    const at = (disk: string): string => join(directory, disk);
    const bookkeeping = step === "begin" || step === "record" || step === "fail";
    const full: unknown = {
      ...{ contract: 1, name, environment: "staging", stateLocation: at("state"), logLocation: at("logs") },
      ...(bookkeeping ? {} : { network }),
      ...(["snapshot", "verify", "copy", "fetch", "rehearse", "restore"].includes(step)
        ? { backupLocation: at("backups") }
        : {}),
      ...(step === "switch" ? { volume: "router" } : {}),
      ...request,
    };
    const given: Environment = {
      TOGATHER_REQUEST: JSON.stringify(full),
      STEP_FAULT: fault === undefined ? "count" : `${fault.kind}:${fault.at.nth}:${fault.at.what} ${fault.at.where}`,
      ...(silenceMs > 0 ? { STEP_SILENCE_MS: String(silenceMs) } : {}),
      ...environment,
    };
    const child = execa(
      "docker",
      [
        ...["exec", "--interactive", ...Object.keys(given).map((key) => `--env=${key}`), this.container],
        ...["node", "--import=/hook.mjs", "/ops/main.js", step],
      ],
      { env: given, reject: false, stdin: "pipe" },
    );
    child.stdin.on("error", () => undefined);
    child.stdin.write(encodeStart(payload));
    const alive = setInterval(() => child.stdin.write(encodeAlive()), 200);
    child.stdin.write(encodeAlive());
    let pending = "";
    child.stdout.on("data", (data: Buffer) => {
      pending += data.toString();
      const lines = pending.split("\n");
      pending = lines.pop() ?? "";
      for (const line of lines) {
        const asked = questionIn(line);
        if (asked === undefined) continue;
        void Promise.resolve(answer(asked.question)).then((given) => child.stdin.write(encodeAnswer(given)));
      }
    });
    const continuing =
      fault?.kind === "stop"
        ? eventually("a stopped step", async () => (await this.inside("cat /proc/[0-9]*/stat")).includes("(node) T"))
            .then(() => Promise.all([whileStopped(), new Promise((resolve) => setTimeout(resolve, stoppedMs))]))
            .then(() => this.inside("pkill -CONT node || kill -CONT -1"))
        : undefined;
    const { exitCode, stdout, stderr } = await child;
    clearInterval(alive);
    await continuing;
    // A step with its own container would end there with all its processes.
    if (exitCode === 137) await this.inside("kill -9 -1");
    const lines = stderr.split("\n");
    const writes = lines.flatMap((line) => {
      const [, number, what = "", where = ""] = /^@fault (\d+) (\w+) (.*)$/.exec(line) ?? [];
      return number === undefined ? [] : [{ nth: Number(number), what, where }];
    });
    const last = stdout
      .split("\n")
      .filter((line) => line.startsWith("{") && questionIn(line) === undefined)
      .at(-1);
    return {
      exitCode,
      said: lines.filter((line) => !line.startsWith("@fault ")).join("\n"),
      writes,
      result: exitCode === 0 && last !== undefined ? (JSON.parse(last) as StepResult<S>) : undefined,
    };
  }
}
