import type { Command } from "commander";
import { deployContext, ready, withDeployOptions, type DeployOptions } from "../context.ts";
import { deploy } from "../deploy/deploy.ts";

export function upCommand(program: Command, end: (code: number) => void): void {
  withDeployOptions(program.command("up"))
    .summary("make the host what the stack file says")
    .description("Makes the host what Pulumi.<stack>.yaml says: `pulumi up` with a line for each phase and an exit code for each kind of failure. After a failure it goes on where that one stopped.")
    .action(async (_options, command: Command) => {
      const options = command.optsWithGlobals<DeployOptions>();
      const context = await ready(await deployContext(options), options);
      end(await deploy({ ...context, dryRun: options.dryRun === true, skipMigrations: options.skipMigrations === true, force: options.force === true }));
    });
}
