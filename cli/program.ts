import { readFileSync } from "node:fs";
import { join } from "node:path";
import { styleText } from "node:util";
import { Command, CommanderError } from "commander";
import { createRedactor } from "../ops/contract/redact.ts";
import { project } from "../toolchain/setup.ts";
import { adoptCommand } from "./commands/adopt.ts";
import { doctorCommand } from "./commands/doctor.ts";
import { envCommand } from "./commands/env.ts";
import { execCommand } from "./commands/exec.ts";
import { historyCommand } from "./commands/history.ts";
import { lintCommand } from "./commands/lint.ts";
import { logsCommand } from "./commands/logs.ts";
import { previewUrlCommand } from "./commands/preview-url.ts";
import { releaseCommand } from "./commands/release.ts";
import { rollbackCommand } from "./commands/rollback.ts";
import { snapshotsCommand } from "./commands/snapshots.ts";
import { statusCommand } from "./commands/status.ts";
import { unlockCommand } from "./commands/unlock.ts";
import { upCommand } from "./commands/up.ts";
import { withCommonOptions } from "./context.ts";
import { exitCodes, type Ending } from "./exit-codes.ts";
import { asFailure } from "./failure.ts";
import { longOptions, refuseTakenOptions } from "./npm-options.ts";

/** The program; tests look at its commands without running them. @param environment in which npm leaves what it has taken. */
export function togather(end: (code: number) => void, environment: NodeJS.ProcessEnv = process.env): Command {
  const { version } = JSON.parse(readFileSync(join(project, "package.json"), "utf8")) as { version: string };
  const program = withCommonOptions(new Command("togather"))
    .description("Releases a Togather server blue-green: without losing a request or a row.")
    .version(version, "--version", "this program's version")
    // `--version` of release is another one.
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .configureOutput({
      outputError: (text, write) => {
        write(`${text.trimEnd()}\n  → togather --help\n`);
      },
    })
    .addHelpText(
      "after",
      `\nExit codes:\n${Object.values(exitCodes)
        .map(({ code, meaning }) => `  ${String(code).padStart(3)}  ${meaning}`)
        .join("\n")}\n\ndocs/cli.md says more.`,
    )
    .hook("preAction", (_program, command) => {
      refuseTakenOptions("togather", longOptions(command), environment);
    })
    .exitOverride();
  upCommand(program, end);
  releaseCommand(program, end);
  rollbackCommand(program, end);
  previewUrlCommand(program);
  snapshotsCommand(program, end);
  statusCommand(program);
  historyCommand(program);
  logsCommand(program);
  execCommand(program, end);
  lintCommand(program, end);
  doctorCommand(program, end);
  unlockCommand(program, end);
  adoptCommand(program, end);
  envCommand(program, end);
  for (const command of program.commands) command.exitOverride().configureOutput(program.configureOutput());
  return program;
}

/** Shows what stopped a command; a stack trace only for what nobody expected. */
export function showError(error: unknown, json: boolean): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return exitCodes.ok.code;
    // Said already, for people.
    if (json) showDocument("config", error.message.replace(/^error: /, ""), "togather --help");
    return exitCodes.config.code;
  }
  const redactor = createRedactor(process.env);
  const failure = asFailure(error);
  const code = exitCodes[failure?.ending ?? "other"].code;
  const message = redactor.text(
    failure?.message ?? (error instanceof Error ? (error.stack ?? error.message) : String(error)),
  );
  const fix = failure?.fix === undefined ? "" : `\n  → ${redactor.text(failure.fix)}`;
  process.stderr.write(`${styleText("red", "error:", { stream: process.stderr })} ${message}${fix}\n`);
  if (json) showDocument(failure?.ending ?? "other", message, failure?.fix);
  return code;
}

/** What a machine reads of a command that failed. */
function showDocument(ending: Ending, message: string, fix: string | undefined): void {
  process.stdout.write(
    `${JSON.stringify({ ok: false, ending, exitCode: exitCodes[ending].code, errors: [message], fix }, null, 2)}\n`,
  );
}
