/** A line for a deployment's own log that no step writes. */
import { bundledImageTag } from "../image.ts";
import { deployedBy } from "./deployed-by.ts";
import { tryDocker } from "./docker.ts";

export interface LogNote {
  /** Docker host; the local engine when empty. */
  host: string;
  /** Directory of the logs on it. */
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
  const args = [
    ...[
      "run",
      "--rm",
      "--interactive",
      "--pull=never",
      "--network=none",
      "--log-driver=none",
      "--read-only",
      "--security-opt=no-new-privileges",
      "--cap-drop=ALL",
      "--cap-add=DAC_OVERRIDE",
    ],
    // Unlike --volume, this makes no directory that isn't there.
    ...[
      `--mount=type=bind,source=${logLocation},target=/logs`,
      "--entrypoint=sh",
      bundledImageTag("ops"),
      "-c",
      'cat >> "$0"',
      `/logs/${deploymentId}.log`,
    ],
  ];
  const { ok, stderr } = await tryDocker(args, { host, input: `${JSON.stringify(line)}\n` });
  if (!ok) throw new Error(stderr.trim());
}
