// `npm run pulumi -- ARGS`: the same Pulumi with the same environment as `npm start` uses.
import { foreground } from "../toolchain/foreground.mjs";
import { thisMachine } from "../toolchain/machine.ts";
import { fail } from "../toolchain/problem.ts";
import { pulumi } from "../toolchain/pulumi.ts";
import { project, pulumiCommand, setUp } from "../toolchain/setup.ts";

try {
  const machine = thisMachine();
  await setUp([pulumi(machine, project)], { quiet: true });
  const { installation, env } = await pulumiCommand(machine);
  process.exitCode = await foreground(installation.command, process.argv.slice(2), { cwd: project, env });
} catch (error) {
  fail(error);
}
