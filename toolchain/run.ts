import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { finished } from "node:stream";
import { stripVTControlCharacters } from "node:util";
import { passSignals } from "./foreground.mjs";

export interface RunOptions {
  env: NodeJS.ProcessEnv;
  cwd?: string;
  /** Called with each line of output, as it comes. */
  onLine?: (line: string) => void;
  /** Called with what stdout says without ending the line yet, such as `compiling ... `. */
  onUnfinishedLine?: (text: string) => void;
  /** The program is stopped when it takes longer (ms) ... */
  timeLimit?: number;
  /** ... or when it says nothing for so long (ms) ... */
  silenceLimit?: number;
  /** ... or when this says so. */
  signal?: AbortSignal;
}

export interface RunResult {
  ok: boolean;
  /** Without the last line's end. */
  stdout: string;
  /** stdout and stderr, line by line as they came; then why the program could not be started or was stopped. */
  output: string;
}

/** From SIGTERM to SIGKILL (ms). */
const GRACE = 3000;

/** Runs a program without a terminal. Its failure is a result, not an exception. */
export function run(command: string, args: readonly string[], options: RunOptions): Promise<RunResult> {
  const { env, cwd, onLine, onUnfinishedLine, timeLimit, silenceLimit, signal } = options;
  return new Promise((resolve) => {
    const child = spawn(command, args, { env, cwd, stdio: ["ignore", "pipe", "pipe"] });
    passSignals(child);
    const stdout: string[] = [];
    const output: string[] = [];
    const timers = new Set<NodeJS.Timeout>();
    let stopped = false;
    const stop = (why: string) => {
      stopped = true;
      output.push(`stopped: ${why}`);
      child.kill();
      timers.add(setTimeout(() => child.kill("SIGKILL"), GRACE));
      // Its child processes may keep these open for long.
      child.stdout.destroy();
      child.stderr.destroy();
    };
    const stopAfter = (ms: number | undefined, why: string) => {
      if (ms === undefined) return undefined;
      const timer = setTimeout(stop, ms, `${why} ${Math.round(ms / 1000)} s`);
      timers.add(timer);
      return timer;
    };
    const abort = () => {
      stop(String(signal?.reason));
    };
    signal?.addEventListener("abort", abort);
    stopAfter(timeLimit, "not finished after");
    const silence = stopAfter(silenceLimit, "no progress for");
    const listen = (stream: NodeJS.ReadableStream, lines: string[]) => {
      createInterface({ input: stream }).on("line", (line) => {
        silence?.refresh();
        lines.push(line);
        if (lines !== output) output.push(line);
        if (line.trim() !== "") onLine?.(line);
      });
    };
    listen(child.stdout, stdout);
    if (onUnfinishedLine) {
      child.stdout.on("data", (chunk: Buffer) => {
        const unfinished = chunk.toString().split("\n").at(-1) ?? "";
        if (unfinished !== "") onUnfinishedLine(unfinished);
      });
    }
    listen(child.stderr, output);

    const end = (ok: boolean) => {
      for (const timer of timers) clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      resolve({ ok, stdout: stdout.join("\n"), output: output.join("\n").trim() });
    };
    child.once("error", (error) => {
      output.push(error.message);
      end(false);
    });
    child.once("close", (code, killer) => {
      if (killer && !stopped) output.push(`ended by ${killer}`);
      end(code === 0);
    });
    // Unread lines of a stream that was destroyed don't matter; an error of it must not end this process.
    for (const stream of [child.stdout, child.stderr]) finished(stream, () => undefined);
  });
}

/** The last lines of an output that say something, for an error message. */
export function tail(output: string, lines = 15): string {
  return stripVTControlCharacters(output)
    .split("\n")
    .filter((line) => line.trim() !== "" && !line.includes("go: downloading"))
    .slice(-lines)
    .map((line) => `  ${line}`)
    .join("\n");
}
