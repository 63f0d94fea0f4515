/** Shows a container's output line by line. */
import { endOf } from "../../ops/contract/programs.ts";
import { dockerProblem, startDocker } from "../../ops/host/docker.ts";
import { onLines } from "../../ops/host/lines.ts";

export interface ContainerLog {
  /** Docker host; the local engine when empty. */
  host: string;
  container: string;
  /** Number of last lines. Undefined: all. */
  tail: number | undefined;
  /** Continues with new lines, until `signal` is aborted or the container ends. */
  follow: boolean;
}

/**
 * Shows the lines of both streams, each on its own stream.
 * @throws {StepError} when Docker has none to show.
 */
export async function showContainerLog(
  { host, container, tail, follow }: ContainerLog,
  show: (line: string, stream: "stdout" | "stderr") => void,
  signal: AbortSignal,
): Promise<void> {
  const args = ["logs", ...(follow ? ["--follow"] : []), ...(tail === undefined ? [] : [`--tail=${tail}`]), container];
  const child = startDocker(args, { host, signal, detached: true, goesOn: follow });
  const ended = endOf(child);
  let last = "";
  const shown = Promise.all([
    onLines(child.stdout, (line) => {
      show(line, "stdout");
    }),
    onLines(child.stderr, (line) => {
      last = line;
      show(line, "stderr");
    }),
  ]);
  const { exitCode, error } = await ended;
  if (error !== undefined) throw dockerProblem(error.message, error);
  await shown;
  if (exitCode !== 0 && !signal.aborted) throw dockerProblem(last);
}
