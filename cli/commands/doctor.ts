import type { Command } from "commander";
import { project } from "../../toolchain/setup.ts";
import { readContext, withCommonOptions, type CommonOptions } from "../context.ts";
import { PulumiStack } from "../deploy/pulumi-stack.ts";
import { examine, showFindings } from "../doctor/doctor.ts";

export function doctorCommand(program: Command, end: (code: number) => void): void {
  withCommonOptions(program.command("doctor"))
    .summary("check all that a deployment needs")
    .description(
      "Checks all that a deployment needs, and changes nothing: the Docker host, its disks, ports and clock, Pulumi and its backend, locks, settings, secrets, certificate, commits, the database. Ends with 0 unless something failed; a warning is no failure.",
    )
    .action(async (_options, command: Command) => {
      const options = command.optsWithGlobals<CommonOptions>();
      const { file, settings, output } = await readContext(options);
      const findings = await examine({ file, settings, pulumi: await PulumiStack.open(file.stack) }, project);
      end(showFindings(output, findings));
    });
}
