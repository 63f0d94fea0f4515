import type { StepName } from "../../ops/contract/steps.ts";
import { withoutSecrets } from "../../ops/host/environment.ts";
import { project } from "../../toolchain/setup.ts";

/**
 * How a command of `togather` runs a step by itself: arguments and options of `execa` for this Node.
 * @param host as in `togather:host`.
 * @param secrets the only ones that it gets, by variable: neither the shell's nor Pulumi's own reach it.
 */
export function stepCommand(
  step: StepName,
  request: { contract: number },
  host: string,
  secrets: NodeJS.ProcessEnv = {},
): {
  args: string[];
  options: { cwd: string; env: NodeJS.ProcessEnv; extendEnv: false; reject: false; stdin: "ignore" };
} {
  return {
    args: ["ops/main.ts", step],
    options: {
      cwd: project,
      env: {
        ...withoutSecrets(process.env),
        ...(host === "" ? {} : { DOCKER_HOST: host }),
        ...secrets,
        TOGATHER_REQUEST: JSON.stringify(request),
      },
      extendEnv: false,
      reject: false,
      stdin: "ignore",
    },
  };
}
