import { Option, type Command } from "commander";
import { dockerProblem, passToDocker, tryDocker } from "../../ops/host/docker.ts";
import { fellSilent } from "../../ops/host/unreachable.ts";
import { slotNames, type SlotName } from "../../ops/contract/steps.ts";
import { readContext, withCommonOptions, type CommonOptions } from "../context.ts";
import { Failure } from "../failure.ts";
import { containerOf } from "../host/container.ts";
import { invocation } from "../output.ts";

interface ExecOptions extends CommonOptions {
  slot?: SlotName;
}

/** A shell's exit code of a program that a signal has ended, without the signal's number. */
const signalled = 128;

/**
 * Runs the Docker client on this process's own streams.
 * @returns the exit code of the command in the container.
 */
function passThrough(args: readonly string[], host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = passToDocker(args, { host });
    // Ctrl-C is for the command: it ends, and its exit code is passed on.
    const ignore = (): void => undefined;
    process.on("SIGINT", ignore);
    const hand = (signal: NodeJS.Signals): void => {
      child.kill(signal);
    };
    process.on("SIGTERM", hand).on("SIGHUP", hand);
    child.once("error", (error) => {
      reject(dockerProblem(error.message, error));
    });
    child.once("close", (code) => {
      process.off("SIGINT", ignore).off("SIGTERM", hand).off("SIGHUP", hand);
      const silent = fellSilent(child);
      if (silent === undefined) resolve(code ?? signalled);
      else reject(silent);
    });
  });
}

export function execCommand(program: Command, end: (code: number) => void): void {
  withCommonOptions(program.command("exec"))
    .summary("run a command in the container of a slot, with its server's environment")
    .description(
      "Runs a command in the container of the slot that serves, by the router's own answer, or of another slot. Ends with the command's exit code.",
    )
    .argument(
      "<command...>",
      "the command and its arguments, after --; no shell of its own: sh -c '…' where the image has one",
    )
    .addOption(new Option("--slot <slot>", "slot (default: the one that serves)").choices(slotNames))
    // Arguments after the command's name belong to the command.
    .passThroughOptions()
    .action(async (words: string[], _options, command: Command) => {
      const options = command.optsWithGlobals<ExecOptions>();
      const context = await readContext(options);
      const { name, part, state } = await containerOf(context, options.slot);
      if (state !== "running") {
        const { stack } = context.file;
        throw new Failure(
          "other",
          `${part} is ${state}: a command needs a container that runs. Nothing was done`,
          `${invocation(`logs --slot ${part} --stack ${stack}`)} shows what it said last; ${invocation(`status --stack ${stack}`)} how it is`,
        );
      }
      const { host } = context.settings;
      if (options.json === true) {
        const args = ["exec", "--interactive", name, ...words];
        const { exitCode, stdout, stderr } = await tryDocker(args, { host, inheritStdin: true, goesOn: true });
        if (exitCode === undefined) throw dockerProblem(stderr);
        context.output.result(
          { stack: context.file.stack, slot: part, container: name, exitCode, stdout, stderr },
          () => "",
        );
        end(exitCode);
        return;
      }
      const terminal = process.stdin.isTTY && process.stdout.isTTY;
      end(await passThrough(["exec", "--interactive", ...(terminal ? ["--tty"] : []), name, ...words], host));
    });
}
