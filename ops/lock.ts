/** A lock between steps on one host. The kernel drops it with the process that holds it: nothing stale stays behind. */
import { execa } from "execa";
import { StepError } from "./errors.ts";

export interface LockOptions {
  file: string;
  waitSeconds: number;
  signal: AbortSignal;
  /** Called once when somebody else holds the lock. */
  onWait?: () => void;
}

/**
 * Runs while holding an exclusive `flock` on a file.
 * Node has no flock of its own: util-linux's holds it for as long as its stdin is open, so it ends with this process.
 */
export async function withFileLock<T>(options: LockOptions, use: () => Promise<T>): Promise<T> {
  const { file, waitSeconds, signal, onWait } = options;
  const holder = execa("flock", ["--exclusive", "--wait", String(waitSeconds), file, "sh", "-c", "echo held; cat"], {
    stdin: "pipe",
    reject: false,
    buffer: false,
    cancelSignal: signal,
    env: { PATH: process.env["PATH"] },
    extendEnv: false,
  });
  const waiting = onWait === undefined ? undefined : setTimeout(onWait, 500);
  const held = await new Promise<boolean>((resolve) => {
    holder.stdout.once("data", () => { resolve(true); });
    void holder.then(() => { resolve(false); });
  });
  clearTimeout(waiting);
  if (!held) {
    signal.throwIfAborted();
    throw new StepError(`${file} is locked by another step, still after ${waitSeconds} s`, { hint: "docker ps --filter label=org.togather.part=step" });
  }
  try {
    return await use();
  } finally {
    holder.stdin.end();
    await holder;
  }
}
