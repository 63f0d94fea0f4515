import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readInterruptedState, type InterruptedState } from "../../ops/host/pending-operations.ts";
import { onLines } from "../../ops/host/lines.ts";
import type { Release, SlotName } from "../../ops/contract/steps.ts";
import { foreground } from "../../toolchain/foreground.mjs";
import { thisMachine } from "../../toolchain/machine.ts";
import type { Installation } from "../../toolchain/installation.ts";
import { pulumi } from "../../toolchain/pulumi.ts";
import { run, tail } from "../../toolchain/run.ts";
import { project, pulumiCommand, setUp } from "../../toolchain/setup.ts";
import { Failure } from "../failure.ts";
import { invocation } from "../output.ts";
import type { HeldLock } from "../snapshots/host-lock.ts";
import type { DecryptedConfig } from "../doctor/settings.ts";
import type { StackFile } from "../stack-file.ts";
import { shortName } from "../stack-name.ts";
import { explainPassphrase } from "./passphrase.ts";
import { bindingsOf, withUnreadPorts } from "./unread-ports.ts";
import { longOutput, withoutLongOutput } from "./long-output.ts";
import { noteRun } from "./own-runs.ts";
import { backendDirectory, locksOf, removeLocks, type BackendLock } from "./backend-lock.ts";
import { outputsIn } from "./outputs-in.ts";
import type { Before, Serving } from "../../config/plan.ts";
import { readRefusal, refusalVariable, type RefusalEnding } from "../../config/refusal-file.ts";
import type { EngineEvent, PulumiCommand } from "@pulumi/pulumi/automation/index.js";

/** The project's name in Pulumi.yaml. */
const pulumiProject = "togather";

/** The outputs of index.ts that the commands need. */
export interface StackOutputs {
  url?: string;
  httpsUrl?: string;
  serving?: Serving;
  slots?: Partial<Record<SlotName, Release>>;
  deploymentId?: string;
  logFile?: string;
}

/** The outputs that are secret. */
export interface SecretOutputs {
  databaseUrl?: string;
  databaseAdminUrl?: string;
  snapshotIdentity?: string;
  snapshotCopyKeyId?: string;
  snapshotCopySecret?: string;
  /** The schema version that each slot's release needs. */
  schemaVersions?: Partial<Record<SlotName, number | null>>;
}

/** The end of one run of Pulumi. */
export interface RunEnd {
  ok: boolean;
  interrupted: boolean;
  /** Pulumi's last output: why it did not begin, for instance. */
  said: string;
  /** The program's own refusal before any change. Undefined: none. */
  refused: RefusalEnding | undefined;
  /** Resources by operation. */
  changes: Partial<Record<string, number>>;
  /** The stack's outputs after this run. Undefined: its events did not have them. */
  outputs: StackOutputs | undefined;
}

export interface RunOptions {
  /** Replaces the stack's own file. */
  configFile?: string;
  onEvent: (event: EngineEvent) => void;
  /** When aborted, Pulumi is interrupted once, and waited for. */
  signal: AbortSignal;
  /** The deployment's lock, where this process holds it already. */
  lock?: HeldLock | undefined;
  /** Refreshes all resources first, by running the program, which knows the database's address. */
  refresh?: boolean;
}

class CommandFailed extends Error {
  readonly output: string;
  constructor(output: string) {
    super(output);
    this.output = output;
  }
}

/**
 * The CLI for the Automation API. It runs in its own process group: Ctrl-C reaches every process of a terminal, and the
 * Automation API's own interrupt would be the second one, at which Pulumi gives up without cleaning up.
 */
function commandFor(
  installation: Installation,
  env: NodeJS.ProcessEnv,
  onUp: (pid: number) => void = () => undefined,
): PulumiCommand {
  const command = {
    command: installation.command,
    // The CLI's class parses the version with semver; only its text is used.
    version: { toString: () => installation.version, compare: () => 0 },
    async run(
      args: string[],
      cwd: string,
      more: NodeJS.ProcessEnv,
      _onOutput?: unknown,
      _onError?: unknown,
      signal?: AbortSignal,
    ) {
      const child = spawn(installation.command, [...args, "--non-interactive"], {
        cwd,
        env: { ...env, ...more, PULUMI_AUTOMATION_API: "true" },
        stdio: ["ignore", "pipe", "pipe"],
        detached: true,
      });
      if (args[0] === "up" && child.pid !== undefined) onUp(child.pid);
      const forget = child.pid === undefined ? () => undefined : noteRun(child.pid);
      const [stdout, stderr]: [string[], string[]] = [[], []];
      const read = [
        onLines(child.stdout, (line) => stdout.push(line)),
        onLines(child.stderr, (line) => stderr.push(line)),
      ];
      const interrupt = (): void => {
        child.kill("SIGINT");
      };
      signal?.addEventListener("abort", interrupt, { once: true });
      if (signal?.aborted === true) interrupt();
      const code = await new Promise<number | null>((resolve, reject) => {
        child.once("error", reject);
        child.once("close", resolve);
      });
      signal?.removeEventListener("abort", interrupt);
      await Promise.all(read);
      // A killed process has left its lock.
      if (code !== null) forget();
      if (code !== 0) throw new CommandFailed(stderr.join("\n").trim() === "" ? stdout.join("\n") : stderr.join("\n"));
      return { stdout: stdout.join("\n"), stderr: stderr.join("\n"), code };
    },
  };
  return command as unknown as PulumiCommand;
}

/**
 * Loaded only where needed: it takes a quarter of a second, and other work can be done meanwhile. Commands that only
 * read do without.
 */
export async function loadAutomation(): Promise<typeof import("@pulumi/pulumi/automation/index.js")> {
  // Like the program, and for the same reason: half of the SDK is never used.
  await import("../../config/node.ts");
  return import("@pulumi/pulumi/automation/index.js");
}

/** The name of a command's stack when `--stack` is not given. */
export async function selectedStack(): Promise<string> {
  const named = process.env["PULUMI_STACK"] ?? "";
  if (named !== "") return named;
  const { installation, env } = await suppliedPulumi();
  const { ok, stdout } = await run(installation.command, ["stack", "--show-name", "--non-interactive"], {
    cwd: project,
    env,
  });
  if (!ok || stdout === "")
    throw new Failure("config", "no stack is named, and none is selected", "--stack production");
  return stdout;
}

async function suppliedPulumi(): Promise<{ installation: Installation; env: NodeJS.ProcessEnv }> {
  const machine = thisMachine();
  await setUp([pulumi(machine, project)], { quiet: true });
  return pulumiCommand(machine);
}

/** Message after a command has created the stack. */
export function madeStack(name: string, preview: boolean): string {
  return `Made the stack ${name}${preview ? " in Pulumi's backend, empty, for the preview to compare with; nothing is deployed" : ""}.`;
}

/** A stack of this project, through the Pulumi CLI that the set-up installed. */
export class PulumiStack {
  readonly name: string;
  readonly #installation: Installation;
  readonly #env: NodeJS.ProcessEnv;

  private constructor(name: string, installation: Installation, env: NodeJS.ProcessEnv) {
    this.name = name;
    this.#installation = installation;
    this.#env = env;
  }

  static async open(name: string): Promise<PulumiStack> {
    const { installation, env } = await suppliedPulumi();
    return new PulumiStack(name, installation, env);
  }

  /** The outputs of the last successful `pulumi up`. Undefined: the backend has no such stack. */
  async outputs(): Promise<StackOutputs | undefined> {
    const asked = await this.#run("stack", "output", "--json", "--stack", this.name);
    if (asked.ok) return JSON.parse(asked.stdout) as StackOutputs;
    if (/no stack named/.test(asked.output)) return undefined;
    throw new Failure(
      "config",
      `Pulumi can't read the stack ${this.name}:\n${tail(explainPassphrase(asked.output))}`,
      /unable to open state directory/.test(asked.output)
        ? `mount or put back that directory; if it is gone for good, make it, and ${invocation(`import --stack ${this.name}`)}`
        : undefined,
    );
  }

  /**
   * Secret outputs, such as the database's connection: encrypted in the state, and in this process only while they are
   * used.
   */
  async secretOutputs(): Promise<SecretOutputs> {
    const asked = await this.#run("stack", "output", "--json", "--show-secrets", "--stack", this.name);
    if (asked.ok) return JSON.parse(asked.stdout) as SecretOutputs;
    throw new Failure("config", `Pulumi can't read the stack ${this.name}:\n${tail(explainPassphrase(asked.output))}`);
  }

  /** The state of the stack that a plan starts from. */
  async before(): Promise<Before & { outputs: StackOutputs | undefined }> {
    const outputs = await this.outputs();
    return { outputs, serving: outputs?.serving, slots: outputs?.slots ?? {} };
  }

  /**
   * Creates the stack before its first deployment.
   * @throws {Failure} when its file shows that it was created before: then it is in another backend, and a second stack
   * would compete with it for the same containers.
   */
  async create(file: StackFile): Promise<void> {
    if (file.belongsToAStack) {
      throw new Failure(
        "config",
        `${file.name} belongs to a stack, but this backend (${await this.#backend()}) has none named ${this.name}`,
        `pulumi login to the backend that has it; or, if its state is gone for good: ${invocation(`import --stack ${this.name}`)}`,
      );
    }
    await this.createEmpty();
  }

  /** Creates the stack without reading its file. */
  async createEmpty(): Promise<void> {
    const made = await this.#run("stack", "init", this.name, "--no-select");
    if (!made.ok) throw new Failure("config", `Pulumi can't make the stack ${this.name}:\n${tail(made.output)}`);
  }

  async #backend(): Promise<string> {
    return (await this.backendUrl()) ?? "the one that you are logged in to";
  }

  /** URL of the backend. Undefined: unknown. */
  async backendUrl(): Promise<string | undefined> {
    const { ok, stdout } = await this.#run("whoami", "--json");
    return ok ? (JSON.parse(stdout) as { url?: string }).url : undefined;
  }

  /** Version and path of the CLI. */
  get cli(): Installation {
    return this.#installation;
  }

  /**
   * The stack's config under `togather:`, decrypted, including unsaved changes of the file; otherwise the reason why it
   * can't be read.
   */
  async config(
    file: Pick<StackFile, "plainConfig" | "belongsToAStack"> = { plainConfig: {}, belongsToAStack: true },
  ): Promise<DecryptedConfig | string> {
    const { ok, stdout, output } = await this.#run("config", "--json", "--show-secrets", "--stack", this.name);
    // Nothing is encrypted before the stack exists.
    if (!ok && /no stack named/.test(output) && !file.belongsToAStack)
      return { values: file.plainConfig, encrypted: new Set() };
    if (!ok) return tail(explainPassphrase(output));
    const entries = Object.entries(JSON.parse(stdout) as Record<string, { value?: string; secret?: boolean }>)
      .filter(([key]) => key.startsWith("togather:"))
      .map(([key, entry]) => [key.slice("togather:".length), entry] as const);
    return {
      values: { ...Object.fromEntries(entries.map(([key, { value = "" }]) => [key, value])), ...file.plainConfig },
      encrypted: new Set(entries.flatMap(([key, { secret }]) => (secret === true ? [key] : []))),
    };
  }

  /** The stack's locks in a file backend. Undefined: another backend, which can't be asked without taking a lock. */
  async locks(): Promise<BackendLock[] | undefined> {
    const directory = backendDirectory((await this.backendUrl()) ?? "", project);
    return directory === undefined ? undefined : locksOf(directory, pulumiProject, shortName(this.name));
  }

  /** Removes locks: see `removeLocks`. */
  async unlock(locks: readonly BackendLock[]): Promise<void> {
    await removeLocks(locks, async () => {
      const { ok, output } = await this.#run("cancel", "--yes", "--stack", this.name);
      if (!ok) throw new Failure("lock", `Pulumi can't remove the lock of ${this.name}:\n${tail(output)}`);
    });
  }

  /** Remains of a killed run in the state. Undefined: the backend has no such stack. */
  async interrupted(): Promise<InterruptedState | undefined> {
    const exported = await this.exported();
    return exported === undefined ? undefined : readInterruptedState(exported);
  }

  /**
   * Removes output from the state that keeps steps from being started: see long-output.ts.
   * @returns the steps' names.
   */
  async shortenOutput(): Promise<string[]> {
    const exported = await this.exported();
    const names = exported === undefined ? [] : longOutput(exported);
    if (exported === undefined || names.length === 0) return [];
    await this.writeState(
      withoutLongOutput(exported),
      `pulumi stack export --stack ${this.name}, take out the "stderr" of ${names.join(", ")}, and pulumi stack import`,
    );
    return names;
  }

  /**
   * Restores ports in the state that Pulumi did not see: see unread-ports.ts.
   * @returns the containers' names.
   */
  async restorePorts(host: string): Promise<string[]> {
    const exported = await this.exported();
    if (exported === undefined) return [];
    const found = await withUnreadPorts(exported, (container) => bindingsOf(container, host));
    if (found === undefined) return [];
    await this.writeState(found.state);
    return found.containers;
  }

  /**
   * Replaces the stack's state.
   * @param state in the form of `pulumi stack export`; secrets in plain text are encrypted.
   * @param fix hint for a person where that fails.
   */
  async writeState(state: string, fix?: string): Promise<void> {
    const directory = await mkdtemp(join(tmpdir(), "togather-state-"));
    try {
      const file = join(directory, "state.json");
      await writeFile(file, state, { mode: 0o600 });
      const { ok, output } = await this.#run("stack", "import", "--file", file, "--stack", this.name);
      if (!ok) throw new Failure("other", `Pulumi can't write the state of ${this.name}:\n${tail(output)}`, fix);
    } finally {
      await rm(directory, { recursive: true });
    }
  }

  /** A preview as JSON, without secrets. */
  async plan(): Promise<string> {
    const asked = await this.#run("preview", "--json", "--stack", this.name);
    if (asked.ok) return asked.stdout;
    throw new Failure("config", `Pulumi can't say what it would make for ${this.name}:\n${tail(asked.output)}`);
  }

  /**
   * Refreshes resources.
   * @param urns resources that are no steps.
   */
  async refresh(urns: readonly string[]): Promise<void> {
    const targets = urns.flatMap((urn) => ["--target", urn]);
    const { ok, output } = await this.#run("refresh", "--yes", "--skip-preview", ...targets, "--stack", this.name);
    if (!ok) throw new Failure("other", `Pulumi can't read what runs for ${this.name}:\n${tail(output)}`);
  }

  /** The state from `pulumi stack export`, with encrypted secrets. Undefined: the backend has no such stack. */
  async exported(): Promise<string | undefined> {
    const asked = await this.#run("stack", "export", "--stack", this.name);
    if (asked.ok) return asked.stdout;
    if (/no stack named/.test(asked.output)) return undefined;
    throw new Failure("config", `Pulumi can't read the stack ${this.name}:\n${tail(explainPassphrase(asked.output))}`);
  }

  /**
   * Removes pending operations from the state without refreshing any resource. Only after a successful run, or where
   * nothing is half-made: the next run uses them to know what it may remove.
   */
  async clearPending(): Promise<void> {
    const name = shortName(this.name);
    const stack = `urn:pulumi:${name}::${pulumiProject}::pulumi:pulumi:Stack::${pulumiProject}-${name}`;
    const { ok, output } = await this.#run(
      "refresh",
      "--yes",
      "--skip-preview",
      "--clear-pending-creates",
      "--target",
      stack,
      "--stack",
      this.name,
    );
    if (!ok)
      throw new Failure(
        "other",
        `Pulumi can't clear the pending operations of ${this.name}:\n${tail(output)}`,
        `pulumi refresh --clear-pending-creates --stack ${this.name}`,
      );
  }

  #run(...args: string[]) {
    return run(this.#installation.command, [...args, "--non-interactive"], { cwd: project, env: this.#env });
  }

  /** Runs any Pulumi command on the user's terminal. */
  show(...args: string[]): Promise<number> {
    return foreground(this.#installation.command, [...args, "--stack", this.name], { cwd: project, env: this.#env });
  }

  /** Runs `pulumi up` or `pulumi preview`. */
  async run(operation: "up" | "preview", options: RunOptions): Promise<RunEnd> {
    const directory = await mkdtemp(join(tmpdir(), "togather-run-"));
    const refusalFile = join(directory, "refusal");
    try {
      const end = await this.#runToldOf(refusalFile, operation, options);
      return { ...end, refused: readRefusal(refusalFile) };
    } finally {
      await rm(directory, { recursive: true });
    }
  }

  async #runToldOf(
    refusalFile: string,
    operation: "up" | "preview",
    { configFile, onEvent, signal, lock, refresh }: RunOptions,
  ): Promise<Omit<RunEnd, "refused">> {
    const { LocalWorkspace, Stack } = await loadAutomation();
    const env = {
      ...this.#env,
      [refusalVariable]: refusalFile,
      ...(lock === undefined ? {} : { TOGATHER_LOCK: lock.id }),
    };
    const workspace = await LocalWorkspace.create({
      workDir: project,
      pulumiCommand: commandFor(this.#installation, env, lock?.keepFor),
    });
    // `pulumi stack select` would change the stack of the operator's next plain `pulumi up`.
    workspace.selectStack = () => Promise.resolve();
    const stack = await Stack.select(this.name, workspace);
    // After each `up` the Automation API would start Pulumi three times more, for outputs with and without secrets and
    // for the history. The events already contain the ones that are used.
    stack.outputs = () => Promise.resolve({});
    stack.info = () => Promise.resolve(undefined);
    let changes: RunEnd["changes"] = {};
    let outputs: RunEnd["outputs"];
    const options = {
      signal,
      color: "never" as const,
      configFile,
      ...(refresh === true ? { refresh, runProgram: true } : {}),
      onEvent: (event: EngineEvent) => {
        if (event.summaryEvent) changes = event.summaryEvent.resourceChanges;
        outputs = outputsIn(event) ?? outputs;
        onEvent(event);
      },
    };
    try {
      await (operation === "up" ? stack.up(options) : stack.preview(options));
      return { ok: true, interrupted: false, said: "", changes, outputs };
    } catch (error) {
      if (!(error instanceof CommandFailed)) throw error;
      return { ok: false, interrupted: signal.aborted, said: error.output, changes, outputs };
    }
  }
}
