/** The Docker client: only this file starts it. */
import {
  spawn,
  type ChildProcess,
  type ChildProcessByStdio,
  type ChildProcessWithoutNullStreams,
  type StdioOptions,
} from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { StepError } from "../contract/errors.ts";
import { endOf } from "../contract/programs.ts";
import { dockerEnvironment } from "./environment.ts";
import { unreachable, watchHost, watchSilence } from "./unreachable.ts";

/** Whether a program could not be started because it does not exist. */
export function isMissing(cause: unknown): boolean {
  return cause instanceof Error && "code" in cause && cause.code === "ENOENT";
}

/** An error of the client or the engine, with a hint. */
export function dockerProblem(stderr: string, cause?: unknown): StepError {
  const text = stderr.trim();
  if (isMissing(cause)) {
    return new StepError("the docker command is not installed", {
      hint: "install the Docker client (Debian: apt-get install docker.io), or run npm start, which does",
      cause,
    });
  }
  const silent = unreachable(text, cause);
  if (silent !== undefined) return silent;
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

export interface DockerOptions {
  /** Docker host, as in `togather:host`. Empty or missing: the client's own choice. */
  host?: string | undefined;
  /** The environment for the client, without secrets. Default: this process's. */
  env?: NodeJS.ProcessEnv | undefined;
  /**
   * Further variables, secrets included, for `--env=NAME`: everybody on the machine can read values on a command line.
   */
  give?: Readonly<Record<string, string>> | undefined;
  /** Stops the client when aborted. */
  signal?: AbortSignal | undefined;
  /**
   * It runs until somebody ends it, and may be silent meanwhile: its host is asked separately whether it still answers.
   */
  goesOn?: boolean | undefined;
}

export interface StartOptions extends DockerOptions {
  /** Its stdin: ended at once, unless the caller keeps it open. */
  stdin?: "ended" | "open" | undefined;
  /** In a new session: neither Ctrl-C nor the end of this process ends it. */
  detached?: boolean | undefined;
  /** Time that a stopped client has before it is killed, in ms. */
  graceMs?: number | undefined;
}

const running = new Set<ChildProcess>();
/** Ends the clients that must not outlive this process. */
function endAll(): void {
  for (const child of running) child.kill();
}

/** Kills at once, even if its own children (ssh) keep its streams open. */
function kill(child: ChildProcess): void {
  child.kill("SIGKILL");
  child.stdout?.destroy();
  child.stderr?.destroy();
}

function environmentOf({ host = "", env, give }: DockerOptions): NodeJS.ProcessEnv {
  return { ...dockerEnvironment(host, env), ...give };
}

/** With Node's own spawn: every step and every preview would wait for execa to load. */
function launch(
  args: readonly string[],
  stdio: StdioOptions,
  { signal, detached = false, goesOn = false, graceMs = 5_000, ...options }: Omit<StartOptions, "stdin">,
): ChildProcess {
  const env = environmentOf(options);
  const child = spawn("docker", args, { env, stdio, detached, windowsHide: true });
  // The exit code decides: the client may be gone before it has read everything.
  child.stdin?.on("error", () => undefined);
  child.on("error", () => undefined);
  let killing: NodeJS.Timeout | undefined;
  const stop = (): void => {
    child.kill();
    killing = setTimeout(() => {
      kill(child);
    }, graceMs);
    killing.unref();
  };
  signal?.addEventListener("abort", stop, { once: true });
  if (signal?.aborted === true) stop();
  const end = (): void => {
    kill(child);
  };
  // The output of a client on this process's own streams can't be watched here.
  if (stdio !== "inherit") watchSilence(child, env, end);
  if (goesOn || stdio === "inherit") watchHost(child, env, end);
  if (!detached) {
    if (running.size === 0) process.once("exit", endAll);
    running.add(child);
  }
  child.once("close", () => {
    clearTimeout(killing);
    signal?.removeEventListener("abort", stop);
    if (running.delete(child) && running.size === 0) process.off("exit", endAll);
  });
  return child;
}

/**
 * Starts the Docker client on pipes. Call `endOf` at once: it reports how the client ended, or why it could not be
 * started.
 */
export function startDocker(
  args: readonly string[],
  { stdin = "ended", ...options }: StartOptions = {},
): ChildProcessWithoutNullStreams {
  const child = launch(args, "pipe", options) as ChildProcessWithoutNullStreams;
  if (stdin === "ended") child.stdin.end();
  return child;
}

/** Starts the client on this process's own streams: for a person's command. */
export function passToDocker(
  args: readonly string[],
  options: Omit<DockerOptions, "signal" | "goesOn"> = {},
): ChildProcess {
  return launch(args, "inherit", options);
}

export interface DockerAnswer {
  ok: boolean;
  /** Undefined: the client was stopped or killed. */
  exitCode: number | undefined;
  /** Without the last line end. */
  stdout: string;
  stderr: string;
  /** Bytes of stdout. */
  bytes: Buffer;
}

export interface CommandOptions extends DockerOptions {
  /** Text for its stdin. */
  input?: string | Buffer | undefined;
  /** Its stdin is this process's own. */
  inheritStdin?: boolean | undefined;
  /** Longest wait, in ms. */
  timeoutMs?: number | undefined;
  /** Texts that must not appear in stderr, whoever prints them. */
  hide?: readonly string[] | undefined;
}

const text = (chunks: readonly Buffer[]): string =>
  Buffer.concat(chunks)
    .toString("utf8")
    .replace(/\r?\n$/, "");

/**
 * Runs a docker command to its end; the caller decides what a failure means.
 * @throws {StepError} where there is no Docker client.
 */
export async function tryDocker(
  args: readonly string[],
  { input, inheritStdin = false, timeoutMs, hide = [], ...options }: CommandOptions = {},
): Promise<DockerAnswer> {
  const stdin = inheritStdin ? "inherit" : "pipe";
  const child = launch(args, [stdin, "pipe", "pipe"], options) as ChildProcessByStdio<
    Writable | null,
    Readable,
    Readable
  >;
  const ended = endOf(child);
  const [stdout, stderr]: [Buffer[], Buffer[]] = [[], []];
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
  child.stdin?.end(input);
  const limit = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs);
  limit?.addEventListener("abort", () => {
    kill(child);
  });
  const { exitCode, error } = await ended;
  const late = exitCode === null && limit?.aborted === true;
  if (isMissing(error)) throw dockerProblem("", error);
  const problem = late ? `no answer within ${(timeoutMs ?? 0) / 1000} s` : (error?.message ?? text(stderr));
  return {
    ok: exitCode === 0,
    exitCode: exitCode ?? undefined,
    stdout: text(stdout),
    stderr: hide.reduce((said, secret) => said.replaceAll(secret, "…"), problem),
    bytes: Buffer.concat(stdout),
  };
}

/**
 * The state of a container, and its last exit code. Undefined: there is none of that name.
 * @throws {StepError} when Docker can't tell.
 */
export async function containerState(
  container: string,
  signal?: AbortSignal,
): Promise<{ status: string; exitCode: number } | undefined> {
  const { ok, stdout, stderr } = await tryDocker(
    ["container", "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", container],
    { signal },
  );
  if (ok) {
    const [status = "", exitCode = ""] = stdout.trim().split(" ");
    return { status, exitCode: Number(exitCode) };
  }
  if (/no such container/i.test(stderr)) return undefined;
  signal?.throwIfAborted();
  throw dockerProblem(stderr);
}

/** Runs a docker command that has to succeed. @returns its stdout. */
export async function docker(args: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { ok, stdout, stderr } = await tryDocker(args, options);
  if (!ok) {
    options.signal?.throwIfAborted();
    throw dockerProblem(stderr);
  }
  return stdout;
}
