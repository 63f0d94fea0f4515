// `npm run pulumi -- ARGS`: the same Pulumi with the same environment as `npm start` uses.
import { foreground } from "../toolchain/foreground.mjs";
import { thisMachine } from "../toolchain/machine.ts";
import { Failure } from "./failure.ts";
import { firstCommandFor, wasMade } from "./new-stack.ts";
import { refuseTakenOptions } from "./npm-options.ts";
import { stacksWithFile } from "./example-file.ts";
import { fail, Problem } from "../toolchain/problem.ts";
import { pulumi } from "../toolchain/pulumi.ts";
import { project, pulumiCommand, setUp } from "../toolchain/setup.ts";

/** Pulumi's options that change the action or its stack, and that `npm run` keeps where no -- stands before them. */
const pulumiOptions = [
  "stack",
  "skip-preview",
  "preview-only",
  "refresh",
  "run-program",
  "target",
  "target-dependents",
  "replace",
  "exclude",
  "exclude-protected",
  "continue-on-error",
  "config",
  "config-file",
  "secret",
  "path",
  "remove",
  "preserve-config",
  "clear-pending-creates",
  "diff",
  "json",
  "all",
];

try {
  const stacks = stacksWithFile(project);
  refuseTakenOptions("pulumi", pulumiOptions, process.env, { stacks });
  const machine = thisMachine();
  await setUp([pulumi(machine, project)], { quiet: true });
  const { installation, env } = await pulumiCommand(machine);
  const asked = firstCommandFor(process.argv.slice(2));
  if (asked !== undefined && !wasMade(project, asked.stack))
    await (await import("./make-new-stack.ts")).makeNewStack(asked);
  process.exitCode = await foreground(installation.command, process.argv.slice(2), { cwd: project, env });
} catch (error) {
  fail(error instanceof Failure ? new Problem(`${error.message}\n  → ${error.fix ?? ""}`) : error);
}
