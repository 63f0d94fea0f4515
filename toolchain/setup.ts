import { dirname } from "node:path";
import { baseImage } from "./base-image.ts";
import { dockerEngine } from "./docker.ts";
import { thisMachine, type Machine } from "./machine.ts";
import type { Installation } from "./installation.ts";
import { knownPulumi, pulumi } from "./pulumi.ts";
import { pulumiEnvironment } from "./pulumi-environment.ts";
import { showSteps } from "./show-steps.ts";
import { ensure, type Report, type Step } from "./step.ts";

/** The root of this project. */
export const project = dirname(import.meta.dirname);

/** Supplies what is missing, in the order of `steps`. With `quiet`, what is there already is not worth a line. */
export async function setUp(steps: readonly Step[], { quiet = false } = {}): Promise<void> {
  const found = await Promise.all(steps.map((step) => step.check()));
  const tasks = steps.map((step, i) => {
    const before = found[i];
    return { title: step.title, before, work: async (report: Report) => before ?? (await ensure(step, report)) };
  });
  await showSteps(tasks.filter(({ before }) => !quiet || before === undefined));
}

/** All that a deployment on this machine's engine needs, in order. */
export const localSteps = (machine: Machine): Step[] => [
  dockerEngine(machine),
  baseImage(machine),
  pulumi(machine, project),
];

/** The CLI to call and the environment to call it with, after `setUp`. */
export async function pulumiCommand(
  machine = thisMachine(),
): Promise<{ installation: Installation; env: NodeJS.ProcessEnv }> {
  const installation = await knownPulumi(machine, project);
  if (!installation) throw new Error("the set-up has not supplied Pulumi");
  return { installation, env: pulumiEnvironment(machine, project, installation) };
}
