import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { endPhase, startPhase } from "./deployment.ts";
import { StateStore } from "./state-store.ts";
import { parseHistory, withLastEvents, type Current, type HistoryEvent } from "../../contract/deployment-state.ts";

let directory: string;
let store: StateStore;
const open: Current = {
  deployment_id: "20260128_143022_abc1234",
  environment: "staging",
  status: "in_progress",
  started_at: "2026-01-28T14:30:22.000Z",
  active_slot: "blue",
  slots: { blue: { version: "v1", commit: "abc1234" } },
  phases: [],
};
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "togather-state-"));
  store = new StateStore(directory);
  await store.writeCurrent(open);
});
afterEach(() => rm(directory, { recursive: true }));

const history = async (): Promise<string[]> =>
  parseHistory(await readFile(join(directory, "history.jsonl"), "utf8").catch(() => "")).map(
    ({ event, phase }) => `${event} ${phase ?? ""}`,
  );
const at = (second: number): Date => new Date(Date.parse(open.started_at) + second * 1000);
const gate = (slot: "blue" | "green", second: number): Parameters<typeof startPhase>[1] => ({
  step: "gate",
  slot,
  startedAt: at(second),
});

describe("phases of a deployment", () => {
  it("are all kept when steps run side by side", async () => {
    const starts = Array.from({ length: 12 }, (_, n) => ({ step: "snapshot" as const, startedAt: at(n) }));
    await Promise.all(
      starts.map(async (start) => {
        await startPhase(store, start);
        await endPhase(store, start, { result: { n: 1 } });
      }),
    );
    const current = await store.current();
    expect(current?.phases).toHaveLength(12);
    expect(current?.phases.every(({ status }) => status === "succeeded")).toBe(true);
    expect(current?.status).toBe("in_progress");
  });

  it("leave a deployment failed, though another slot's step succeeds after the failure", async () => {
    await startPhase(store, gate("blue", 1));
    await startPhase(store, gate("green", 2));
    await endPhase(store, gate("blue", 1), { error: "no answer" });
    await endPhase(store, gate("green", 2), { result: {} });
    expect(await store.current()).toMatchObject({ status: "failed", failed_phase: "gate", error: "no answer" });
    expect(await history()).toEqual(["failed gate"]);
  });

  it("are rolled back when the switch says so, and resumed when it runs again", async () => {
    const start = (second: number) => ({ step: "switch" as const, startedAt: at(second) });
    await startPhase(store, start(1));
    await endPhase(store, start(1), { error: "sent back", rolledBack: true });
    expect(await store.current()).toMatchObject({
      status: "rolled_back",
      failed_phase: "switch",
      error: "sent back",
      phases: [{ status: "rolled_back" }],
    });
    await startPhase(store, start(2));
    expect(await store.current()).toMatchObject({ status: "in_progress" });
    expect(await history()).toEqual(["rolled_back switch", "resumed switch"]);
  });

  it("are in progress again when the failed one runs again", async () => {
    await startPhase(store, gate("blue", 1));
    await endPhase(store, gate("blue", 1), { error: "no answer" });
    await startPhase(store, gate("blue", 3));
    const current = await store.current();
    expect(current).toMatchObject({ status: "in_progress" });
    expect(current?.error).toBeUndefined();
    await endPhase(store, gate("blue", 3), { result: { attempts: 1 } });
    expect((await store.current())?.phases.map(({ status }) => status)).toEqual(["failed", "succeeded"]);
    expect(await history()).toEqual(["failed gate", "resumed gate"]);
  });

  it("don't touch a deployment that is closed", async () => {
    await store.writeCurrent({ ...open, status: "succeeded" });
    await startPhase(store, gate("blue", 1));
    await endPhase(store, gate("blue", 1), { error: "no answer" });
    expect((await store.current())?.phases).toEqual([]);
  });
});

describe("the state directory", () => {
  it("says what to do with a file that something else has broken", async () => {
    await writeFile(join(directory, "current.json"), "{");
    await expect(store.current()).rejects.toMatchObject({ hint: expect.stringContaining("mv ") as unknown });
  });

  it("reads a history whose last line was cut short", () => {
    expect(
      parseHistory('{"time":"t","event":"failed","deployment_id":"x","environment":"staging"}\n{"time":'),
    ).toHaveLength(1);
  });
});

describe("the history", () => {
  const event: HistoryEvent = {
    time: at(3).toISOString(),
    event: "succeeded",
    deployment_id: open.deployment_id,
    environment: "staging",
  };

  it("has what a change added that was cut short, once, whoever looks first", async () => {
    await store.writeCurrent({ ...open, status: "succeeded" }, [event]);
    // The state after a kill between the two files.
    await rm(join(directory, "history.jsonl"));
    expect(withLastEvents([], await store.current())).toEqual([event]);
    const later = new StateStore(directory);
    await later.exclusively(() => Promise.resolve());
    await later.exclusively(() => Promise.resolve());
    expect(await history()).toEqual(["succeeded "]);
    expect(withLastEvents(await later.history(), await later.current())).toEqual([event]);
  });

  it("gets what there was no room for once there is, and current.json keeps it until then", async () => {
    const full = new StateStore(directory);
    const append = full.appendHistory.bind(full);
    full.appendHistory = () => Promise.reject(Object.assign(new Error("no space"), { code: "ENOSPC" }));
    await full.writeCurrent(open, [event]);
    await full.exclusively(() => full.writeCurrent({ ...open, status: "failed" }));
    expect(await full.current()).toMatchObject({ status: "failed", last_events: [event] });
    full.appendHistory = append;
    await full.exclusively(() => full.writeCurrent(open));
    expect(await history()).toEqual(["succeeded "]);
    await full.exclusively(() => full.writeCurrent(open));
    expect((await full.current())?.last_events).toBeUndefined();
  });
});
