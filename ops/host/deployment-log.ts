/** A line for a deployment's own log that no step writes. */
import { spawn } from "node:child_process";
import { bundledImageTag } from "../image.ts";
import { deployedBy } from "./deployed-by.ts";
import { dockerEnvironment } from "./host-lock.ts";

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
  const child = spawn("docker", args, {
    env: dockerEnvironment(host),
    stdio: ["pipe", "ignore", "pipe"],
    windowsHide: true,
  });
  child.stdin.on("error", () => undefined);
  child.stdin.end(`${JSON.stringify(line)}\n`);
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  if (code !== 0) throw new Error(said.trim());
}
