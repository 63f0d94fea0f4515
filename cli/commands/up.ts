import type { Command } from "commander";
import { project } from "../../toolchain/setup.ts";
import { deployContext, ready, withDeployOptions, type DeployOptions } from "../context.ts";
import { deploy } from "../deploy/deploy.ts";
import { ensureDevelopmentSecrets } from "../development/secrets.ts";

export function upCommand(program: Command, end: (code: number) => void): void {
  withDeployOptions(program.command("up"))
    .summary("deploy what the stack file says")
    .description(
      "Deploys what Pulumi.<stack>.yaml says: `pulumi up`, with a line for each phase and an exit code for each kind of failure. After a failure it goes on where the last run stopped.",
    )
    .action(async (_options, command: Command) => {
      const options = command.optsWithGlobals<DeployOptions>();
      const context = await ready(await deployContext(options), options);
      if (options.dryRun !== true) {
        const made = ensureDevelopmentSecrets(project, context.file, context.settings, process.env);
        if (made !== undefined) context.output.say(`Made up ${made.names.join(", ")} in ${made.file}.`);
      }
      end(
        await deploy({
          ...context,
          now: context.looked,
          dryRun: options.dryRun === true,
          skipMigrations: options.skipMigrations === true,
          force: options.force === true,
        }),
      );
    });
}
