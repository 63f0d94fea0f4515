import { describe, expect, it } from "vitest";
import { stripVTControlCharacters } from "node:util";
import { differencesOf, driftOf as driftIn } from "./drift.ts";
import { entriesOf } from "./entries.ts";
import { isSuccess, prettyLine } from "./log-line.ts";
import { addressOf, canServe, healthOf, type Health, type HostReport, type SlotReport } from "./look.ts";
import type { Current, HistoryEvent } from "../../ops/contract/deployment-state.ts";

const v1 = { version: "v1.0.0", commit: "1".repeat(40) };
const v2 = { version: "v2.0.0", commit: "2".repeat(40) };

const slot = (name: "blue" | "green", release?: typeof v1): SlotReport => ({
  slot: name,
  release,
  container: release && { state: "running", since: "2026-01-28T14:30:22Z", exitCode: 0, restarts: 0 },
  health: release && { status: "healthy" },
});
const recorded = (serving: "blue" | "green", { version, commit }: typeof v1): HostReport["state"] =>
  ({ active_slot: serving, version, git_commit: commit }) as HostReport["state"];
const report = (serving: "blue" | "green", blue?: typeof v1, green?: typeof v1): HostReport => ({
  slots: { blue: slot("blue", blue), green: slot("green", green) },
  states: {
    database: "running",
    router: "running",
    ...(blue && { blue: "running" }),
    ...(green && { green: "running" }),
  },
  router: {
    state: "running",
    slot: serving,
    persisted: { slot: serving, changedAt: "2026-01-28T14:30:22Z", served: {} },
    health: { status: "healthy" },
    maintenance: undefined,
  },
  lock: undefined,
  state: recorded(serving, (serving === "blue" ? blue : green) ?? v1),
  current: undefined,
  history: [],
});
const file = { name: "Pulumi.production.yaml" };
const name = "production";
type Settings = Parameters<typeof differencesOf>[0];
const driftOf = (of: typeof file, settings: Settings & { name: string }, now: HostReport): string[] =>
  driftIn(of, settings, differencesOf(settings, now));

describe("drift", () => {
  it("is none when the host is what the file says", () => {
    expect(driftOf(file, { name, activeSlot: "blue", slots: { blue: v1, green: v2 } }, report("blue", v1, v2))).toEqual(
      [],
    );
    expect(
      driftOf(file, { name, activeSlot: "blue", slots: { blue: { ...v1, commit: "1111111" } } }, report("blue", v1)),
    ).toEqual([]);
  });
  it("names every difference", () => {
    expect(
      driftOf(
        file,
        { name, activeSlot: "blue", slots: { blue: v1, green: v2 }, standby: "removed" },
        report("blue", v1),
      ),
    ).toEqual([]);
    expect(driftOf(file, { name, activeSlot: "green", slots: { blue: v1, green: v2 } }, report("blue", v1))).toEqual([
      "green has no container, Pulumi.production.yaml wants v2.0.0 (2222222) in it",
      "Pulumi.production.yaml wants green to serve, blue does",
    ]);
    expect(driftOf(file, { name, activeSlot: "blue", slots: { blue: v2 } }, report("blue", v1, v2))).toEqual([
      "blue runs v1.0.0 (1111111), Pulumi.production.yaml wants v2.0.0 (2222222)",
      "green runs v2.0.0 (2222222), Pulumi.production.yaml wants nothing in it",
    ]);
    const other = { ...report("blue", v1), state: recorded("green", v1) };
    other.router.persisted = { slot: "green", changedAt: "2026-01-28T14:30:22Z", served: {} };
    expect(driftOf(file, { name, activeSlot: "blue", slots: { blue: v1 } }, other)).toEqual([
      "the router would come up on green after a restart",
      "deployment-state.json says that green serves, the router sends requests to blue",
    ]);
    const down = { ...report("blue", v1, v2), states: { database: "exited", blue: "running", green: "exited" } };
    down.router = {
      state: undefined,
      slot: undefined,
      persisted: undefined,
      health: undefined,
      maintenance: undefined,
    };
    expect(driftOf(file, { name, activeSlot: "blue", slots: { blue: v1, green: v2 } }, down)).toEqual([
      "togather-production-db is exited",
      "togather-production-green is exited",
      "the router has no container (togather-production-router)",
    ]);
    const lost = { ...report("blue", v1), state: undefined };
    lost.router.persisted = undefined;
    expect(driftOf(file, { name, activeSlot: "blue", slots: { blue: v1 } }, lost)).toEqual([
      "the router would come up without a slot after a restart: its state/slot.json is not there, or damaged",
      "deployment-state.json is not there, or can't be read; the router sends requests to blue",
    ]);
  });
});

describe("health", () => {
  const answer = (body: object, status = 200) => healthOf({ status, slot: "blue", body: JSON.stringify(body), ms: 1 });
  it("is read in both of its shapes", () => {
    expect(
      answer({
        status: "healthy",
        version: "v1",
        database: "connected",
        migrations: "up-to-date",
        jobs: "operational",
      }),
    ).toEqual({ status: "healthy", version: "v1" });
    expect(answer({ status: "unhealthy", version: "v1", database: "disconnected" }, 503)).toEqual({
      status: "unhealthy",
      version: "v1",
      detail: "database: disconnected",
    });
    expect(
      answer({ status: "degraded", version: "v1", checks: { disk: { status: "warn", message: "90 % full" } } }),
    ).toEqual({ status: "degraded", version: "v1", detail: "disk: 90 % full" });
  });
  it("lets a server take all requests that is degraded for another reason than the schema", () => {
    const degraded = (checks: object): Health => answer({ status: "degraded", version: "v1", checks });
    expect(canServe(answer({ status: "healthy", version: "v1" }))).toBe(true);
    expect(
      canServe(degraded({ sources: { status: "warn", message: "2 are stale" }, job_queue: { status: "warn" } })),
    ).toBe(true);
    expect(
      canServe(degraded({ sources: { status: "warn" }, migrations: { status: "warn", message: "1 pending" } })),
    ).toBe(false);
    expect(canServe(degraded({ database: { status: "warn" } }))).toBe(false);
    for (const health of [
      undefined,
      answer({ status: "unhealthy", version: "v1" }, 503),
      answer({ hello: 1 }),
      healthOf({ error: "ECONNREFUSED" }),
    ])
      expect(canServe(health)).toBe(false);
  });
  it("is told where there is none", () => {
    expect(healthOf({ error: "ECONNREFUSED" })).toEqual({ status: "no answer", detail: "nothing listens" });
    expect(answer({ hello: 1 }, 503)).toMatchObject({ status: "unhealthy" });
  });
});

describe("the history", () => {
  const event = (
    id: string,
    kind: HistoryEvent["event"],
    time: string,
    more: Partial<HistoryEvent> = {},
  ): HistoryEvent => ({
    time: `2026-01-28T14:${time}Z`,
    event: kind,
    deployment_id: id,
    environment: "staging",
    active_slot: "green",
    version: "v2.0.0",
    git_commit: v2.commit,
    ...more,
  });
  it("is one entry a deployment, the newest first, with how each ended", () => {
    const history = [
      event("a", "in_progress", "00:00"),
      event("a", "succeeded", "00:40", { duration_ms: 39_500, deployed_by: "ann" }),
      event("b", "in_progress", "10:00"),
      event("b", "failed", "10:20", { phase: "gate", error: "no answer", duration_ms: 8000 }),
      event("b", "resumed", "11:00"),
      event("b", "failed", "11:30", { phase: "gate", error: "no answer" }),
      event("c", "in_progress", "20:00"),
      event("d", "in_progress", "21:00"),
    ];
    const current = { deployment_id: "d" } as Current;
    const entries = entriesOf({ history, current, lock: {} as HostReport["lock"] });
    expect(entries.map(({ id, status }) => [id, status])).toEqual([
      ["d", "in progress"],
      ["c", "interrupted"],
      ["b", "failed"],
      ["a", "succeeded"],
    ]);
    expect(entries[2]).toMatchObject({
      failedPhase: "gate",
      error: "no answer",
      runs: 2,
      durationMs: 90_000,
      version: "v2.0.0",
      slot: "green",
    });
    expect(entries[3]).toMatchObject({ durationMs: 39_500, deployedBy: "ann" });
    // Nobody holds the lock: then nobody deploys.
    expect(entriesOf({ history, current, lock: undefined })[0]).toMatchObject({
      id: "d",
      status: "interrupted",
      endedAt: undefined,
    });
    expect(entriesOf({ history: [], current: undefined, lock: undefined })).toEqual([]);
  });
});

describe("a line of a log", () => {
  it("is shown for people", () => {
    const line = JSON.stringify({
      level: "WARN",
      time: "2026-01-28T14:30:22.123Z",
      deployment_id: "x",
      phase: "gate",
      message: "slow",
      attempts: 3,
      hint: "docker logs x",
    });
    expect(stripVTControlCharacters(prettyLine(line))).toBe(
      "14:30:22 WARN    gate     slow  attempts=3\n                          → docker logs x",
    );
  });
  it("that is none stays as it is", () => {
    expect(prettyLine("{ cut sh")).toBe("{ cut sh");
    expect(prettyLine("null")).toBe("null");
  });
  it("ends a deployment", () => {
    expect(isSuccess('{"level":"SUCCESS","message":"done"}')).toBe(true);
    expect(isSuccess('{"level":"INFO","message":"SUCCESS"}')).toBe(false);
  });
});

it("reaches a slot in the deployment's own network, whichever comes first", () => {
  const address = (IPAddress: string) => ({ IPAddress });
  const Networks = { database: address("172.20.0.3"), "togather-events": address("10.213.7.11") };
  expect(addressOf({ NetworkSettings: { Networks } }, "togather-events")).toBe("10.213.7.11");
  expect(addressOf({ NetworkSettings: { Networks: { "togather-events": address("") } } }, "togather-events")).toBe(
    undefined,
  );
});
