/** What a container has printed, shown line by line. */
import { spawn } from "node:child_process";
import { dockerProblem } from "../../ops/host/docker.ts";
import { dockerEnvironment } from "../../ops/host/host-lock.ts";
import { onLines } from "../../ops/host/lines.ts";

export interface ContainerLog {
  /** Docker host; the local engine when empty. */
  host: string;
  container: string;
  /** How many of its last lines; all unless given. */
  tail: number | undefined;
  /** Goes on with what is added, until `signal` is aborted or the container ends. */
  follow: boolean;
}

/** Shows the lines of both streams, each on its own. @throws {StepError} when Docker has none to show. */
export async function showContainerLog(
  { host, container, tail, follow }: ContainerLog,
  show: (line: string, stream: "stdout" | "stderr") => void,
  signal: AbortSignal,
): Promise<void> {
  const args = ["logs", ...(follow ? ["--follow"] : []), ...(tail === undefined ? [] : [`--tail=${tail}`]), container];
  const child = spawn("docker", args, {
    env: dockerEnvironment(host),
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const stop = (): void => {
    child.kill("SIGTERM");
  };
  signal.addEventListener("abort", stop);
  let last = "";
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("error", (error) => {
      reject(dockerProblem(error.message, error));
    });
    child.once("close", resolve);
  });
  const shown = Promise.all([
    onLines(child.stdout, (line) => {
      show(line, "stdout");
    }),
    onLines(child.stderr, (line) => {
      last = line;
      show(line, "stderr");
    }),
  ]);
  try {
    const code = await ended;
    await shown;
    if (code !== 0 && !signal.aborted) throw dockerProblem(last);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
