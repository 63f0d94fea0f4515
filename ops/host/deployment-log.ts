/** Adds a line to a deployment's log outside of its steps. */
import { bundledImageTag } from "../image.ts";
import { deployedBy } from "./deployed-by.ts";
import { tryDocker } from "./docker.ts";
import { oneOffArguments } from "./one-off.ts";

export interface LogNote {
  /** Docker host; the local engine when empty. */
  host: string;
  /** Directory of the logs on the Docker host. */
  logLocation: string;
  deploymentId: string;
  message: string;
}

/** Appends a warning to the log of a deployment, in the steps' own format. @throws when it could not be written. */
export async function noteInLog({ host, logLocation, deploymentId, message }: LogNote): Promise<void> {
  const line = {
    level: "WARN",
    time: new Date().toISOString(),
    deployment_id: deploymentId,
    phase: "begin",
    message,
    deployed_by: deployedBy(process.env),
  };
  const args = oneOffArguments({
    image: bundledImageTag("ops"),
    network: "none",
    interactive: true,
    capabilities: ["DAC_OVERRIDE"],
    mounts: [{ type: "bind", source: logLocation, target: "/logs", readonly: false }],
    program: ["sh", "-c", 'cat >> "$0"', `/logs/${deploymentId}.log`],
  });
  const { ok, stderr } = await tryDocker(args, { host, input: `${JSON.stringify(line)}\n` });
  if (!ok) throw new Error(stderr.trim());
}
