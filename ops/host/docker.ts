/** The Docker client, as every step of the client calls it. */
import { SECRET_VARIABLES, SERVER_ENVIRONMENT } from "../contract/steps.ts";
import { StepError } from "../contract/errors.ts";

/** The environment without secrets: for programs that have no use for them. */
export function withoutSecrets(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const left: readonly string[] = [...SECRET_VARIABLES, SERVER_ENVIRONMENT, "TOGATHER_REQUEST"];
  return Object.fromEntries(Object.entries(env).filter(([name]) => !left.includes(name)));
}

/** Whether a program could not be started because there is none of that name. */
export function isMissing(cause: unknown): boolean {
  return cause instanceof Error && "code" in cause && cause.code === "ENOENT";
}

/** An error of the client or the engine, in words that say what to do. */
export function dockerProblem(stderr: string, cause?: unknown): StepError {
  const text = stderr.trim();
  if (isMissing(cause)) {
    return new StepError("the docker command is not installed", {
      hint: "install the Docker client (Debian: apt-get install docker.io), or run npm start, which does",
      cause,
    });
  }
  if (
    /cannot connect to the docker daemon|error during connect|is the docker daemon running|connection refused|permission denied while trying to connect/i.test(
      text,
    )
  ) {
    return new StepError(`the Docker engine doesn't answer: ${lastLines(text, 2)}`, {
      hint: "docker version (and DOCKER_HOST, if the engine is on another machine)",
      cause,
    });
  }
  return new StepError(`docker failed: ${lastLines(text, 5)}`, { cause });
}

export function lastLines(text: string, count: number): string {
  return text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .slice(-count)
    .join("\n");
}

/** Runs a short docker command; the caller decides what a failure means. */
export async function tryDocker(
  args: readonly string[],
  signal?: AbortSignal,
  env = withoutSecrets(process.env),
): Promise<{ ok: boolean; stdout: string; stderr: string }> {
  // Loaded here: a step that calls no Docker command of its own doesn't wait for it.
  const { execa } = await import("execa");
  const { failed, stdout, stderr, cause } = await execa("docker", args, {
    env,
    extendEnv: false,
    reject: false,
    stdin: "ignore",
    cancelSignal: signal,
  });
  if (isMissing(cause)) throw dockerProblem("", cause);
  return { ok: !failed, stdout, stderr };
}

/** How a container is, or was when it ended; undefined where there is none of that name. @throws {StepError} when Docker can't tell. */
export async function containerState(
  container: string,
  signal?: AbortSignal,
): Promise<{ status: string; exitCode: number } | undefined> {
  const { ok, stdout, stderr } = await tryDocker(
    ["container", "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", container],
    signal,
  );
  if (ok) {
    const [status = "", exitCode = ""] = stdout.trim().split(" ");
    return { status, exitCode: Number(exitCode) };
  }
  if (/no such container/i.test(stderr)) return undefined;
  signal?.throwIfAborted();
  throw dockerProblem(stderr);
}

/** Runs a short docker command that has to succeed. */
export async function docker(args: readonly string[], signal?: AbortSignal): Promise<string> {
  const { ok, stdout, stderr } = await tryDocker(args, signal);
  if (!ok) {
    signal?.throwIfAborted();
    throw dockerProblem(stderr);
  }
  return stdout;
}
