import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { project } from "../toolchain/setup.ts";
import { adoptCommand } from "./commands/adopt.ts";
import { doctorCommand } from "./commands/doctor.ts";
import { envCommand } from "./commands/env.ts";
import { execCommand } from "./commands/exec.ts";
import { explainCommand } from "./commands/explain.ts";
import { historyCommand } from "./commands/history.ts";
import { importCommand } from "./commands/import.ts";
import { lintCommand } from "./commands/lint.ts";
import { logsCommand } from "./commands/logs.ts";
import { maintenanceCommand } from "./commands/maintenance.ts";
import { previewUrlCommand } from "./commands/preview-url.ts";
import { releaseCommand } from "./commands/release.ts";
import { rollbackCommand } from "./commands/rollback.ts";
import { schemaCommand } from "./commands/schema.ts";
import { snapshotsCommand } from "./commands/snapshots.ts";
import { statusCommand } from "./commands/status.ts";
import { unlockCommand } from "./commands/unlock.ts";
import { upCommand } from "./commands/up.ts";
import { withCommonOptions, type CommonOptions } from "./context.ts";
import { exitCodes } from "./exit-codes.ts";
import { longOptions, refuseTakenOptions } from "./npm-options.ts";
import { stacksWithFile } from "./example-file.ts";

/**
 * The program; tests inspect its commands without running them.
 * @param environment has npm's variables for options that it has taken.
 */
export function togather(end: (code: number) => void, environment: NodeJS.ProcessEnv = process.env): Command {
  const { version } = JSON.parse(readFileSync(join(project, "package.json"), "utf8")) as { version: string };
  const program = withCommonOptions(new Command("togather"))
    .description("Deploys a Togather server blue-green, without losing a request or a row.")
    .version(version, "--version", "this program's version")
    // `--version` of release is another option.
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
        .join("\n")}\n\nMore: docs/cli.md.`,
    )
    .hook("preAction", (_program, command) => {
      const stacks = stacksWithFile(project);
      // With --stack, no name stands alone.
      const typed = command.optsWithGlobals<CommonOptions>().stack === undefined ? command.args : [];
      refuseTakenOptions("togather", longOptions(command), environment, { stacks, typed });
    })
    .exitOverride();
  upCommand(program, end);
  releaseCommand(program, end);
  rollbackCommand(program, end);
  previewUrlCommand(program);
  maintenanceCommand(program);
  snapshotsCommand(program, end);
  statusCommand(program);
  historyCommand(program);
  logsCommand(program);
  execCommand(program, end);
  lintCommand(program, end);
  doctorCommand(program, end);
  unlockCommand(program, end);
  importCommand(program, end);
  adoptCommand(program, end);
  envCommand(program, end);
  explainCommand(program);
  schemaCommand(program);
  for (const command of program.commands) command.exitOverride().configureOutput(program.configureOutput());
  return program;
}
