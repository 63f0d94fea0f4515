import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { hasStarted, noteRun, notesDirectory } from "./own-runs.ts";

let directory: string;
beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), "togather-runs-")), "notes");
});
afterEach(() => {
  rmSync(join(directory, ".."), { recursive: true });
});

const now = (offsetMs = 0): string => new Date(Date.now() + offsetMs).toISOString();

describe.runIf(existsSync("/proc/sys/kernel/random/boot_id"))("the Pulumi processes of this machine", () => {
  it("are known until they have ended by themselves", () => {
    expect(hasStarted({ pid: 4711, since: now() }, directory)).toBe(false);
    const forget = noteRun(4711, directory);
    expect(hasStarted({ pid: 4711, since: now() }, directory)).toBe(true);
    // Another machine's process with the same number, or another machine with the same name.
    expect(hasStarted({ pid: 4712, since: now() }, directory)).toBe(false);
    expect(hasStarted({ pid: 4711, since: now(-60_000) }, directory)).toBe(false);
    expect(hasStarted({ pid: 4711, since: now(3_600_000) }, directory)).toBe(false);
    expect(hasStarted({ pid: 4711, since: "some time ago" }, directory)).toBe(false);
    forget();
    expect(hasStarted({ pid: 4711, since: now() }, directory)).toBe(false);
  });

  it("are those of this boot alone", () => {
    noteRun(1, directory);
    writeFileSync(
      join(directory, "4711.json"),
      JSON.stringify({ pid: 4711, kernel: "another", startedAt: Date.now() }),
    );
    expect(hasStarted({ pid: 4711, since: now() }, directory)).toBe(false);
    noteRun(2, directory);
    expect(readdirSync(directory).sort()).toEqual(["1.json", "2.json"]);
  });

  it("need no note to run", () => {
    writeFileSync(directory, "no directory");
    expect(() => {
      noteRun(4711, directory)();
    }).not.toThrow();
    expect(hasStarted({ pid: 4711, since: now() }, directory)).toBe(false);
  });

  it("are noted where the user's programs keep such things", () => {
    expect(notesDirectory({ XDG_STATE_HOME: "/s" })).toBe("/s/togather/pulumi");
    expect(notesDirectory({})).toMatch(/\.local\/state\/togather\/pulumi$/);
  });
});
