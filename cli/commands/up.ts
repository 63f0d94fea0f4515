import type { Command } from "commander";
import { project } from "../../toolchain/setup.ts";
import { deployContext, ready, withDeployOptions, type DeployOptions } from "../context.ts";
import { awaitingLock } from "../deploy/await-lock.ts";
import { requested, type Deployment } from "../deploy/deployment.ts";
import { deploy } from "../deploy/deploy.ts";
import { makeFromExample } from "../example-file.ts";
import { ensureDevelopmentSecrets } from "../development/secrets.ts";

export function upCommand(program: Command, end: (code: number) => void): void {
  withDeployOptions(program.command("up"))
    .summary("deploy what the stack file says")
    .description(
      "Deploys what Pulumi.<stack>.yaml says: `pulumi up`, with a line for each phase and an exit code for each kind of failure. After a failure it goes on where the last run stopped.",
    )
    .action(async (_options, command: Command) => {
      const options = command.optsWithGlobals<DeployOptions>();
      const made = options.stack === undefined ? undefined : makeFromExample(project, options.stack);
      const deployed = async (within: Deployment["within"]): Promise<number> => {
        const context = await ready(await deployContext(options), options);
        if (made !== undefined) context.output.say(made);
        if (options.dryRun !== true) {
          const secrets = ensureDevelopmentSecrets(project, context.file, context.settings, process.env);
          if (secrets !== undefined) context.output.say(`Made up ${secrets.names.join(", ")} in ${secrets.file}.`);
        }
        return deploy(requested(context, options, within));
      };
      end(await awaitingLock(options, "up", deployed));
    });
}
