import { execa } from "execa";

export interface RunOptions {
  env: NodeJS.ProcessEnv;
  cwd?: string;
  /** Called with each line of output, as it comes. */
  onLine?: (line: string) => void;
  /** The program is stopped when it takes longer (ms) ... */
  timeLimit?: number;
  /** ... or when it says nothing for so long (ms). */
  silenceLimit?: number;
  /** ... or when this says so. */
  signal?: AbortSignal;
}

export interface RunResult {
  ok: boolean;
  stdout: string;
  /** stdout and stderr as they came; or why the program could not be started or was stopped. */
  output: string;
}

/** Runs a program without a terminal. Its failure is a result, not an exception. */
export async function run(command: string, args: readonly string[], options: RunOptions): Promise<RunResult> {
  const stop = new AbortController();
  const stopAfter = (ms: number, why: string) =>
    setTimeout(() => {
      stop.abort(new Error(`stopped: ${why} ${Math.round(ms / 1000)} s`));
    }, ms).unref();
  const { timeLimit, silenceLimit, onLine } = options;
  const timer = timeLimit === undefined ? undefined : stopAfter(timeLimit, "not finished after");
  let silence: NodeJS.Timeout | undefined;
  const listen = () => {
    clearTimeout(silence);
    if (silenceLimit !== undefined) silence = stopAfter(silenceLimit, "no progress for");
  };
  listen();
  const child = execa(command, args, {
    env: options.env,
    extendEnv: false,
    cwd: options.cwd,
    stdin: "ignore",
    all: true,
    reject: false,
    cancelSignal: options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal,
    forceKillAfterDelay: 3000,
  });
  const lines = (async () => {
    for await (const line of child.iterable({ from: "all" })) {
      listen();
      if (line.trim() !== "") onLine?.(line);
    }
  })();
  const result = await child;
  await lines.catch(() => undefined);
  clearTimeout(timer);
  clearTimeout(silence);
  const why = result.failed && (result.isCanceled || result.exitCode === undefined) ? `\n${result.originalMessage ?? result.shortMessage}` : "";
  return { ok: !result.failed, stdout: result.stdout, output: (result.all + why).trim() };
}

/** The last lines of an output, for an error message. */
export function tail(output: string, lines = 15): string {
  return output
    .split("\n")
    .slice(-lines)
    .map((line) => `  ${line}`)
    .join("\n");
}
