import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { SlotName } from "../../contract/steps.ts";
import { endPhase, startPhase } from "./deployment.ts";
import { tellOfFailure, type Failure } from "./failure-command.ts";
import { StateStore } from "./state-store.ts";

let directory: string;
let store: StateStore;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "togather-state-"));
  store = new StateStore(directory);
  await store.writeCurrent({
    deployment_id: "20260128_143022_abc1234",
    environment: "staging",
    status: "in_progress",
    started_at: new Date().toISOString(),
    active_slot: "blue",
    slots: { blue: { version: "v1", commit: "abc1234" } },
    failure_command: ["tell"],
    phases: [],
  });
});
afterEach(() => rm(directory, { recursive: true }));

const told: string[] = [];
/** Runs the command for the current failure; returns the lines that it was given. */
async function tell(): Promise<string[]> {
  told.length = 0;
  await tellOfFailure(store, {
    log: { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn(), success: vi.fn() },
    ask: (question) => {
      const { status, phase, error } = question as Failure;
      told.push(`${status} ${phase} ${error}`);
      return Promise.resolve({});
    },
  });
  return [...told];
}
const phase = (step: string, slot: SlotName, startedAt: Date): Parameters<typeof startPhase>[1] => ({
  step,
  slot,
  startedAt,
});

it("is told once of what one cause has stopped in both slots", async () => {
  const [blue, green] = [phase("gate", "blue", new Date()), phase("gate", "green", new Date())];
  await startPhase(store, blue);
  await startPhase(store, green);
  expect(await tell()).toEqual([]);
  await endPhase(store, blue, { error: "no answer" });
  expect(await tell()).toEqual(["failed gate no answer"]);
  await endPhase(store, green, { error: "no answer either" });
  expect(await tell()).toEqual([]);
});

it("is told of another failure of the same deployment: sent back, released again, and stopped by its gate", async () => {
  const traffic = phase("switch", "blue", new Date());
  await startPhase(store, traffic);
  await endPhase(store, traffic, { error: "did not hold up", rolledBack: true });
  expect(await tell()).toEqual(["sent-back switch did not hold up"]);
  expect(await tell()).toEqual([]);
  await new Promise((resolve) => setTimeout(resolve, 5));
  const gate = phase("gate", "blue", new Date());
  await startPhase(store, gate);
  expect(await tell()).toEqual([]);
  await endPhase(store, gate, { error: "does not stay up" });
  expect(await tell()).toEqual(["failed gate does not stay up"]);
  expect(await tell()).toEqual([]);
});
