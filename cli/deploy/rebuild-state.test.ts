import { describe, expect, it } from "vitest";
import { isRecordWrong } from "../../config/differences.ts";
import { differencesOf } from "../host/drift.ts";
import { recordOf } from "./rebuild-state.ts";
import type { HostReport, SlotReport } from "../host/look.ts";
import type { PlainSettings } from "../stack-file.ts";

const v1 = { version: "v1.0.0", commit: "1".repeat(40) };
const slot = (name: "blue" | "green", release?: typeof v1): SlotReport => ({
  slot: name,
  release,
  container: undefined,
  health: undefined,
});
const report = (serving: "blue" | "green" | undefined): HostReport => ({
  slots: { blue: slot("blue", v1), green: slot("green") },
  states: { router: "running", blue: "running" },
  router: { state: "running", slot: serving, persisted: undefined, health: undefined, maintenance: undefined },
  lock: undefined,
  state: undefined,
  current: undefined,
  history: [],
});
const settings = {
  name: "n",
  environment: "staging",
  stateLocation: "/s",
  logLocation: "/l",
  logRetention: 7,
} as PlainSettings;

const isStateLost = (now: HostReport): boolean =>
  isRecordWrong(differencesOf({ activeSlot: "blue", slots: { blue: v1 } }, now));

describe("a state that was lost", () => {
  it("is one of a deployment that serves", () => {
    expect(isStateLost(report("blue"))).toBe(true);
    expect(isStateLost(report(undefined))).toBe(false);
    const recorded = { active_slot: "blue", version: v1.version, git_commit: v1.commit };
    expect(isStateLost({ ...report("blue"), state: recorded as never })).toBe(false);
    // On a full disk the record could not be written: it still names the previous slot.
    expect(isStateLost({ ...report("blue"), state: { ...recorded, active_slot: "green" } as never })).toBe(true);
    expect(isStateLost({ ...report("blue"), state: { ...recorded, version: "v0.9.0" } as never })).toBe(true);
    expect(isStateLost({ ...report("green"), state: { ...recorded, active_slot: "green" } as never })).toBe(false);
  });

  it("is written from what the router and the containers say", () => {
    expect(recordOf(settings, report("blue"), { deploymentId: "id" })).toEqual({
      contract: 1,
      name: "n",
      environment: "staging",
      stateLocation: "/s",
      logLocation: "/l",
      logRetention: 7,
      deploymentId: "id",
      activeSlot: "blue",
      release: v1,
      slots: { blue: v1 },
    });
  });

  it("is left alone where nobody knows what serves", () => {
    expect(recordOf(settings, report("green"), { deploymentId: "id" })).toBeUndefined();
    expect(recordOf(settings, report("blue"), {})).toBeUndefined();
  });
});
