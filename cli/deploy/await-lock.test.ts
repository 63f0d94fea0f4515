import { beforeEach, expect, it, vi } from "vitest";
import { Failure } from "../failure.ts";
import { awaitingLock } from "./await-lock.ts";

const { holders, taken, said } = vi.hoisted(() => ({
  holders: [] as unknown[],
  taken: [] as unknown[],
  said: [] as string[],
}));
vi.mock("node:timers/promises", () => ({ setTimeout: () => Promise.resolve() }));
vi.mock("../../ops/host/host-lock.ts", () => ({
  hostLockHolder: () => Promise.resolve(holders.shift()),
  lockFile: (name: string) => `/tmp/${name}.lock`,
}));
vi.mock("../context.ts", () => ({
  readContext: () =>
    Promise.resolve({
      file: { stack: "production" },
      settings: { name: "production", host: "" },
      output: { say: (line: string) => said.push(line) },
    }),
}));
vi.mock("../snapshots/host-lock.ts", () => ({
  withHostLock: (_about: unknown, use: (signal: unknown, lock: unknown) => Promise<number>) => {
    const lock = taken.shift();
    return lock instanceof Error ? Promise.reject(lock) : use("signal", lock);
  },
}));

const alice = { held_by: "alice@laptop", pid: 7, since: "2026-01-28T14:30:22Z", stack: "org/togather/production" };
const locked = new Failure("lock", "the deployment production is locked");

beforeEach(() => {
  for (const list of [holders, taken, said]) list.length = 0;
});

it("takes no lock of its own without --wait, and in a dry run", async () => {
  const use = vi.fn(() => Promise.resolve(0));
  expect(await awaitingLock({}, "up", use)).toBe(0);
  expect(await awaitingLock({ wait: true, dryRun: true }, "up", use)).toBe(0);
  expect(use.mock.calls).toEqual([[undefined], [undefined]]);
});

it("waits for who holds it, says so once, also where another one that waits is faster, and runs within the lock", async () => {
  holders.push(alice, alice, undefined, alice, undefined);
  taken.push(locked, "the lock");
  const use = vi.fn(() => Promise.resolve(7));
  expect(await awaitingLock({ wait: true }, "release", use)).toBe(7);
  expect(use.mock.calls).toEqual([[{ lock: "the lock", signal: "signal" }]]);
  expect(said).toEqual([
    expect.stringMatching(/^Waiting for the deployment of alice@laptop, pid 7, since 2026-01-28T14:30:22Z/),
  ]);
  // Nor is nobody told where it is held by somebody who has left no name.
  taken.push(locked, "the lock");
  expect(await awaitingLock({ wait: true }, "release", use)).toBe(7);
  expect(said.slice(1)).toEqual(["Waiting for whoever holds /tmp/production.lock on the Docker host"]);
});

it("does not run again what has failed within it, nor hides another failure", async () => {
  taken.push("the lock");
  const use = vi.fn(() => Promise.reject(locked));
  await expect(awaitingLock({ wait: true }, "up", use)).rejects.toBe(locked);
  expect(use).toHaveBeenCalledTimes(1);
  taken.push(new Failure("other", "no host"));
  await expect(awaitingLock({ wait: true }, "up", use)).rejects.toThrow("no host");
});

it("only waits for a command that takes the lock itself", async () => {
  holders.push(alice, undefined);
  const use = vi.fn(() => Promise.resolve(0));
  expect(await awaitingLock({ wait: true }, "rollback", use, { takes: true })).toBe(0);
  expect(use.mock.calls).toEqual([[undefined]]);
});
