import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { withFileLock } from "./lock.ts";

const directory = mkdtempSync(join(tmpdir(), "togather-lock-"));
afterAll(() => {
  rmSync(directory, { recursive: true });
});

const lock = <T>(
  use: () => Promise<T>,
  options: { file?: string; waitSeconds?: number; signal?: AbortSignal; onWait?: () => void } = {},
): Promise<T> =>
  withFileLock(
    { file: join(directory, "lock"), waitSeconds: 10, signal: new AbortController().signal, ...options },
    use,
  );

it("is held by one at a time, and let go with what it was for", async () => {
  const seen: string[] = [];
  const hold = (name: string): Promise<void> =>
    lock(async () => {
      seen.push(`${name} holds`);
      await new Promise((resolve) => setTimeout(resolve, 50));
      seen.push(`${name} is done`);
    });
  await Promise.all([hold("a"), hold("b")]);
  const first = seen[0]?.[0] ?? "";
  const second = first === "a" ? "b" : "a";
  expect(seen).toEqual([`${first} holds`, `${first} is done`, `${second} holds`, `${second} is done`]);
  await expect(lock(() => Promise.reject(new Error("what it was for failed")))).rejects.toThrow(
    "what it was for failed",
  );
  expect(await lock(() => Promise.resolve("free again"), { waitSeconds: 0 })).toBe("free again");
});

it("is refused after the wait, with a word while it lasts; and an interruption is one", async () => {
  await lock(async () => {
    let waits = 0;
    await expect(lock(() => Promise.resolve(), { waitSeconds: 1, onWait: () => waits++ })).rejects.toThrow(
      /lock is locked by another step, still after 1 s/,
    );
    expect(waits).toBe(1);
    const interruption = new AbortController();
    setTimeout(() => {
      interruption.abort(new Error("interrupted"));
    }, 100);
    await expect(lock(() => Promise.resolve(), { signal: interruption.signal })).rejects.toThrow("interrupted");
    await expect(
      lock(() => Promise.resolve(), { signal: AbortSignal.abort(new Error("interrupted before")) }),
    ).rejects.toThrow("interrupted before");
  });
  expect(await lock(() => Promise.resolve("free again"), { waitSeconds: 1 })).toBe("free again");
});

it("says what is wrong where nothing can be locked", async () => {
  await expect(lock(() => Promise.resolve(), { file: join(directory, "missing", "lock") })).rejects.toThrow(
    /missing\/lock can't be locked: flock ended with exit code 66/,
  );
  const path = process.env["PATH"];
  process.env["PATH"] = directory;
  try {
    await expect(lock(() => Promise.resolve())).rejects.toThrow(/lock can't be locked: spawn flock ENOENT/);
  } finally {
    process.env["PATH"] = path;
  }
});
