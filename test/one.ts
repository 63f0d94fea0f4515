// `npm run test:one -- FILE [-t NAME]`: integration tests of one file, with their tools.
import { foreground } from "../toolchain/foreground.mjs";
import { thisMachine } from "../toolchain/machine.ts";
import { fail } from "../toolchain/problem.ts";
import { localSteps, project, pulumiCommand, setUp } from "../toolchain/setup.ts";

try {
  const machine = thisMachine();
  await setUp(localSteps(machine), { quiet: true });
  const { env } = await pulumiCommand(machine);
  const args = ["node_modules/vitest/vitest.mjs", "run", "--project", "integration", ...process.argv.slice(2)];
  process.exitCode = await foreground(process.execPath, args, { cwd: project, env });
} catch (error) {
  fail(error);
}
