import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { stripVTControlCharacters } from "node:util";
import type { PhaseRun } from "./phases.ts";
import { Progress } from "./progress.ts";

/** A stream that keeps its output. */
function stream(isTTY: boolean): { written: string; as: NodeJS.WriteStream } {
  const kept = {
    written: "",
    as: {
      isTTY,
      columns: 60,
      write: (text: string) => Boolean((kept.written += text)),
    } as unknown as NodeJS.WriteStream,
  };
  return kept;
}
const phase = (about: Partial<PhaseRun>): PhaseRun => ({
  phase: "gate",
  subject: "green",
  startedAt: Date.now(),
  endedAt: undefined,
  status: "running",
  detail: "",
  doing: "",
  errors: [],
  warnings: [],
  active: 1,
  ...about,
});
const redact = (text: string): string => text.replaceAll("canary", "[secret]");
const end = (one: PhaseRun): void => {
  Object.assign(one, { active: 0, status: "succeeded", endedAt: one.startedAt + 1500 });
};

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe("progress without a terminal", () => {
  it("is a line for each phase that has ended, and a sign of life of one that lasts", () => {
    const kept = stream(false);
    const phases = [phase({})];
    const progress = new Progress(phases, kept.as, redact);
    vi.advanceTimersByTime(31_000);
    expect(kept.written).toBe("  ... gate green (30.0 s)\n");
    end(phases[0] as PhaseRun);
    progress.changed(phases[0] as PhaseRun);
    progress.end();
    expect(kept.written.split("\n").slice(1)).toEqual(["gate green         ok             1.5 s", ""]);
  });

  it("tells at once what a phase warns of, each line once, without secrets", () => {
    const kept = stream(false);
    const phases = [phase({})];
    const progress = new Progress(phases, kept.as, redact);
    const [gate] = phases as [PhaseRun];
    gate.warnings.push("gate green: slow");
    progress.changed(gate);
    gate.warnings[0] = "gate green: slow\n  → say canary";
    gate.warnings.push("gate green: no canary");
    progress.changed(gate);
    end(gate);
    progress.changed(gate);
    progress.end();
    expect(kept.written.split("\n").slice(0, 3)).toEqual([
      "WARNING: gate green: slow",
      "  → say [secret]",
      "WARNING: gate green: no [secret]",
    ]);
    expect(kept.written.match(/WARNING/g)).toHaveLength(2);
  });

  it("tells of a phase of many resources once, when something else goes on", () => {
    const kept = stream(false);
    const database = phase({ phase: "database", subject: "" });
    const phases = [database];
    const progress = new Progress(phases, kept.as, redact);
    end(database);
    progress.changed(database);
    expect(kept.written).toBe("");
    const gate = phase({});
    phases.push(gate);
    progress.changed(gate);
    expect(kept.written).toMatch(/^database +ok/);
    end(gate);
    progress.changed(gate);
    progress.end();
    expect(kept.written.trimEnd().split("\n")).toHaveLength(2);
  });
});

describe("progress on a terminal", () => {
  it("shows what the running phases do, in one line each, and puts the result in its place", () => {
    const kept = stream(true);
    const phases = [phase({ doing: "x".repeat(200) })];
    const progress = new Progress(phases, kept.as, redact);
    vi.advanceTimersByTime(400);
    const drawn = stripVTControlCharacters(kept.written).trimEnd().split("\n");
    for (const line of drawn) expect(line.length).toBeLessThan(60);
    expect(drawn.at(-1)).toMatch(/^\S gate green +0\.\d s {2}x+$/);
    // Up one line and clear: the line that was drawn before.
    expect(kept.written).toContain("\u001b[1A\u001b[0J");
    end(phases[0] as PhaseRun);
    progress.changed(phases[0] as PhaseRun);
    progress.end();
    expect(stripVTControlCharacters(kept.written)).toMatch(/✔ gate green +1\.5 s\n$/);
  });
});
