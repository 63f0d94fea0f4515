import type { StepName } from "../../ops/contract/steps.ts";
import { withoutSecrets } from "../../ops/host/environment.ts";
import { project } from "../../toolchain/setup.ts";

/**
 * Arguments and options of `execa` with which a `togather` command runs a step.
 * @param host as in `togather:host`.
 * @param secrets the only secrets that it gets, by variable: neither the shell's nor Pulumi's reach it.
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
