import { describe, expect, it } from "vitest";
import { lockFile, readHolder, thisHolder } from "./host-lock.ts";

const holder = {
  held_by: "alice@laptop",
  pid: 4711,
  since: "2026-01-28T14:30:22.000Z",
  stack: "organization/togather/production",
  active_slot: "green",
  slots: { green: { version: "v1.4.0", commit: "1a2b3c4" } },
};
const line = JSON.stringify(holder);

describe("a lock file", () => {
  it("is the reference's", () => {
    expect(lockFile("production")).toBe("/tmp/togather-deploy-production.lock");
  });

  it("names its holder, whatever was forced meanwhile", () => {
    expect(readHolder(`${line}\n`)).toEqual(holder);
    expect(readHolder(`${line}\n${JSON.stringify({ forced_by: { ...holder, pid: 1 } })}\n`)).toEqual(holder);
  });

  it("names nobody when the last holder let go, or when something else was written", () => {
    expect(readHolder("")).toBeUndefined();
    expect(readHolder(`${line}\n{"released":"2026-01-28T14:31:00Z"}\n`)).toBeUndefined();
    expect(readHolder(`${line}\n{"lost":"2026-01-28T14:31:00Z"}\n`)).toBeUndefined();
    expect(readHolder("4711\n")).toBeUndefined();
    expect(readHolder(line.slice(0, 40))).toBeUndefined();
  });
});

describe("this process as a holder", () => {
  it("says who, on which machine, since when", () => {
    const before = Date.now();
    const { held_by: heldBy, pid, since } = thisHolder({ stack: "s", active_slot: "blue", slots: {} });
    expect(heldBy).toMatch(/^.+@.+$/);
    expect(pid).toBe(process.pid);
    expect(Date.parse(since)).toBeGreaterThanOrEqual(before);
  });
});
