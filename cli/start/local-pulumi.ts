import type { Release, SlotName } from "../../ops/contract/steps.ts";
import { foreground } from "../../toolchain/foreground.mjs";
import { Problem } from "../../toolchain/problem.ts";
import { run, tail } from "../../toolchain/run.ts";
import { project, pulumiCommand } from "../../toolchain/setup.ts";
import { STACK } from "./local-stack.ts";

/** What index.ts exports, as far as `npm start` shows it. */
export interface StackOutputs {
  url?: string;
  httpsUrl?: string;
  activeSlot?: SlotName;
  version?: string;
  commit?: string;
  deploymentId?: string;
  logFile?: string;
  slots?: Partial<Record<SlotName, Release>>;
}

/** Pulumi, called for the stack of `npm start`. */
export class LocalPulumi {
  readonly #command: string;
  readonly #env: NodeJS.ProcessEnv;

  private constructor(command: string, env: NodeJS.ProcessEnv) {
    this.#command = command;
    this.#env = env;
  }

  /** After the set-up. Makes the stack when there is none. */
  static async open(): Promise<LocalPulumi> {
    const { installation, env } = await pulumiCommand();
    return new LocalPulumi(installation.command, env);
  }

  /** What the last `pulumi up` left; makes the stack when there is none. */
  async outputs(): Promise<StackOutputs> {
    const asked = await this.#run("stack", "output", "--json", "--stack", STACK);
    if (asked.ok) return JSON.parse(asked.stdout) as StackOutputs;
    if (!asked.output.includes("no stack named"))
      throw new Problem(`Pulumi can't read the stack ${STACK}:\n${tail(asked.output)}`);
    const made = await this.#run("stack", "init", STACK);
    if (!made.ok) throw new Problem(`Pulumi can't make the stack ${STACK}:\n${tail(made.output)}`);
    return {};
  }

  #run(...args: string[]) {
    return run(this.#command, [...args, "--non-interactive"], { cwd: project, env: this.#env });
  }

  /** On the user's terminal; resolves with the exit code. */
  show(...args: string[]): Promise<number> {
    return foreground(this.#command, [...args, "--stack", STACK], { cwd: project, env: this.#env });
  }
}
