/**
 * A lock between steps on one host. The kernel releases it when the holding process ends: no stale lock stays behind.
 */
import { labels } from "../contract/names.ts";
import { spawn } from "node:child_process";
import { StepError } from "../contract/errors.ts";
import { endOf } from "../contract/programs.ts";

export interface LockOptions {
  file: string;
  waitSeconds: number;
  signal: AbortSignal;
  /** Called once when another process holds the lock. */
  onWait?: () => void;
}

/**
 * Runs while holding an exclusive `flock` on a file. Node has no flock: util-linux's program holds it for as long as
 * its stdin is open, and so ends with this process.
 */
export async function withFileLock<T>(options: LockOptions, use: () => Promise<T>): Promise<T> {
  const { file, waitSeconds, signal, onWait } = options;
  // Node's own spawn: every step takes a lock, and loading execa would take time.
  const holder = spawn("flock", ["--exclusive", "--wait", String(waitSeconds), file, "sh", "-c", "echo held; cat"], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { PATH: process.env["PATH"] },
    signal,
  });
  const ended = endOf(holder);
  holder.stdin.on("error", () => undefined);
  const waiting = onWait === undefined ? undefined : setTimeout(onWait, 500);
  const held = await new Promise<boolean>((resolve) => {
    holder.stdout.once("data", () => {
      resolve(true);
    });
    void ended.then(() => {
      resolve(false);
    });
  });
  clearTimeout(waiting);
  if (!held) {
    signal.throwIfAborted();
    const { exitCode, error } = await ended;
    // flock's own exit code for a lock that another process holds.
    if (exitCode !== 1)
      throw new StepError(`${file} can't be locked: ${error?.message ?? `flock ended with exit code ${exitCode}`}`);
    throw new StepError(`${file} is locked by another step, still after ${waitSeconds} s`, {
      hint: `docker ps --filter label=${labels.part}=step`,
    });
  }
  try {
    return await use();
  } finally {
    holder.stdin.end();
    await ended;
  }
}
