import type { EngineEvent } from "@pulumi/pulumi/automation/index.js";
import { describe, expect, it } from "vitest";
import { endingOf, errorText } from "./ending.ts";
import { describeResult, phaseOf, PhaseTracker } from "./phases.ts";
import { phaseLine } from "./progress.ts";
import { exitCodes } from "../exit-codes.ts";
import { rolledBackExitCode } from "../../ops/contract/errors.ts";
import { firstDeployment, releases, runProgram } from "../../test/graph.ts";

const command = "command:local:Command";
const urn = (component: string, name: string, type = command): string =>
  `urn:pulumi:production::togather::togather:deployment:${component}$${type}::${name}`;
const gate = urn("Slot", "green-slot-gate");

function event(
  kind: "resourcePreEvent" | "resOutputsEvent" | "resOpFailedEvent",
  about: string,
  op = "update",
  stdout?: object,
): EngineEvent {
  const metadata = { op, urn: about, new: { outputs: stdout === undefined ? {} : { stdout: JSON.stringify(stdout) } } };
  return { sequence: 1, timestamp: 1, [kind]: { metadata } };
}
function diagnostic(message: string, severity: string, about?: string): EngineEvent {
  return {
    sequence: 1,
    timestamp: 1,
    diagnosticEvent: { message, severity, color: "never", urn: about },
  } as unknown as EngineEvent;
}
/** A tracker whose clock advances a second with each event. */
function track(...events: EngineEvent[]): PhaseTracker {
  let now = 0;
  const tracker = new PhaseTracker(() => (now += 1000));
  for (const one of events) tracker.add(one);
  return tracker;
}

describe("a resource's phase", () => {
  it("follows from the component it belongs to", () => {
    expect(phaseOf(urn("ServerImage", "green-image-build"))).toEqual({ phase: "build", subject: "green" });
    expect(phaseOf(urn("BundledImage", "ops-image-build"))).toEqual({ phase: "build", subject: "ops" });
    expect(phaseOf(urn("Slot", "blue-slot-container", "docker:index/container:Container"))).toEqual({
      phase: "container",
      subject: "blue",
    });
    expect(phaseOf(gate)).toEqual({ phase: "gate", subject: "green" });
    expect(phaseOf(urn("Waking", "waking-gate"))).toEqual({ phase: "gate", subject: "" });
    expect(phaseOf(urn("ServerImage", "green-image-pull", "docker:index/remoteImage:RemoteImage"))).toEqual({
      phase: "pull",
      subject: "green",
    });
    expect(phaseOf(urn("DevelopmentServer", "dev-server-wait"))).toEqual({ phase: "develop", subject: "" });
    expect(phaseOf(urn("Database", "database-app", "postgresql:index/role:Role"))).toEqual({
      phase: "database",
      subject: "",
    });
    expect(phaseOf(urn("Task", "task-warm-run-run"))).toEqual({ phase: "task", subject: "warm-run" });
    expect(phaseOf(urn("Switch", "switch-traffic"))).toEqual({ phase: "switch", subject: "" });
    expect(phaseOf("urn:pulumi:p::togather::togather:deployment:Slot::green-slot")).toBeUndefined();
    expect(phaseOf("urn:pulumi:p::togather::pulumi:providers:docker::docker")).toBeUndefined();
    expect(phaseOf(urn("Database", "database-provider", "pulumi:providers:postgresql"))).toBeUndefined();
  });

  it.each([
    ["blue-green", { ...firstDeployment, slots: { blue: releases.v1, green: releases.v2 } }, 25],
    ["development", { ...firstDeployment, environment: "development", slots: {} }, 15],
  ])("is known for every resource of the program that does something: %s", async (_name, config, least) => {
    const graph = await runProgram(config);
    // Mocks have no parent types: the component is found by the name of its parts.
    const parents = graph.resources.filter(({ type }) => type.startsWith("togather:"));
    const parts = graph.resources.filter(({ type }) => !type.startsWith("togather:") && !type.startsWith("pulumi:"));
    expect(parts.length).toBeGreaterThan(least);
    for (const { type, name } of parts) {
      const parent = parents
        .filter((one) => name.startsWith(`${one.name}-`))
        .sort((a, b) => b.name.length - a.name.length)[0];
      expect(parent, name).toBeDefined();
      expect(phaseOf(`urn:pulumi:p::togather::${parent?.type ?? ""}$${type}::${name}`), name).toBeDefined();
    }
  });
});

describe("a run, by its events", () => {
  it("has a line for each phase, with time and result", () => {
    const tracker = track(
      event("resourcePreEvent", urn("Begin", "begin-entry"), "same"),
      event("resourcePreEvent", urn("Begin", "begin-entry")),
      event("resOutputsEvent", urn("Begin", "begin-entry"), "update", { deploymentId: "20260128_143022_1a2b3c4" }),
      event("resourcePreEvent", gate),
      diagnostic("14:30:30 INFO    green: waiting for v1.4.0\n", "info", gate),
      event("resOutputsEvent", gate, "update", { attempts: 2 }),
    );
    expect(tracker.phases).toMatchObject([
      { phase: "begin", status: "succeeded", detail: "20260128_143022_1a2b3c4" },
      { phase: "gate", subject: "green", status: "succeeded", doing: "14:30:30 INFO    green: waiting for v1.4.0" },
    ]);
    expect(tracker.deploymentId).toBe("20260128_143022_1a2b3c4");
    expect(tracker.phases.map((phase) => phaseLine(phase, false))).toEqual([
      "begin              ok             1.0 s  20260128_143022_1a2b3c4",
      "gate green         ok             1.0 s  passed at attempt 2",
    ]);
  });

  it("keeps what a step warns of, once, with the lines that belong to it", () => {
    const task = urn("Switch", "switch-traffic");
    const tracker = track(
      event("resourcePreEvent", task),
      diagnostic(
        "14:30:30 INFO    task notify: sent\n14:30:31 WARN    the task notify ended with exit code 3\n",
        "info",
        task,
      ),
      diagnostic("  its last line", "info#err", task),
      diagnostic("                 → a command", "info", task),
      diagnostic("14:30:32 WARN    switch: not confirmed", "info", task),
      diagnostic("… 12 lines are not shown; the deployment's log has them: npm run togather logs", "info", task),
      diagnostic("14:30:33 WARN    the task notify ended with exit code 3\n  again", "info", task),
      diagnostic("14:30:34 INFO    green serves\n  of nothing", "info", task),
      event("resOutputsEvent", task),
    );
    expect(tracker.stepWarnings).toEqual([
      "switch: the task notify ended with exit code 3\n  its last line\n  → a command",
      "switch: not confirmed",
    ]);
  });

  it("ends as the phase that failed says", () => {
    const failures = [
      ["build", urn("ServerImage", "green-image-build")],
      ["build", urn("ServerImage", "green-image-pull", "docker:index/remoteImage:RemoteImage")],
      ["snapshot", urn("Snapshot", "green-snapshot-dump")],
      ["snapshot", urn("Verification", "green-verification-restore")],
      ["migration", urn("Migration", "green-migration-up")],
      ["gate", gate],
      ["switch", urn("Switch", "switch-traffic")],
      ["other", urn("Router", "router-container", "docker:index/container:Container")],
    ] as const;
    for (const [ending, about] of failures) {
      const tracker = track(
        event("resourcePreEvent", about),
        diagnostic("it broke", "error", about),
        event("resOpFailedEvent", about),
      );
      expect(tracker.failed?.errors).toEqual(["it broke"]);
      expect(
        endingOf({ ok: false, interrupted: false, said: "error: update failed", refused: undefined }, tracker),
      ).toBe(ending);
    }
  });

  it("ends with a code of its own when the switch step says that traffic was sent back", () => {
    const about = urn("Switch", "switch-traffic");
    const ended = (message: string) =>
      endingOf(
        { ok: false, interrupted: false, said: "", refused: undefined },
        track(event("resourcePreEvent", about), diagnostic(message, "error", about), event("resOpFailedEvent", about)),
      );
    const provider = (code: number) =>
      `exit status ${code}: running "node ops/main.ts switch":\n04:58:00 ERROR   green (v1.1.0) served for 2.0 s`;
    expect(exitCodes[ended(provider(rolledBackExitCode))].code).toBe(rolledBackExitCode);
    expect(ended(provider(1))).toBe("switch");
    expect(ended(`exit status 1: running "node ops/main.ts switch":\nits health endpoint said: exit status 9`)).toBe(
      "switch",
    );
  });

  it("knows what interrupts traffic: a router or database that is replaced, and no slot", () => {
    const container = "docker:index/container:Container";
    const replaced = (component: string, name: string): EngineEvent =>
      event("resourcePreEvent", urn(component, name, container), "replace");
    expect(track(replaced("Router", "router-container")).interruptions).toEqual(["router"]);
    expect(
      track(replaced("Database", "database-container"), replaced("Slot", "green-slot-container")).interruptions,
    ).toEqual(["database"]);
    expect(
      track(event("resourcePreEvent", urn("Router", "router-container", container), "update")).interruptions,
    ).toEqual([]);
  });

  it("ends interrupted, whatever failed because of it", () => {
    const tracker = track(event("resourcePreEvent", gate));
    tracker.interrupt();
    tracker.add(event("resOpFailedEvent", gate));
    expect(tracker.phases[0]?.status).toBe("interrupted");
    expect(tracker.failed).toBeUndefined();
    expect(
      endingOf({ ok: false, interrupted: true, said: "error: update canceled", refused: undefined }, tracker),
    ).toBe("interrupted");
  });

  it("that Pulumi left in the middle has no phase that runs", () => {
    const tracker = track(event("resourcePreEvent", gate));
    tracker.finish();
    expect(tracker.phases[0]?.status).toBe("interrupted");
  });

  it("ends with lock and config by the program's code, whatever its words are, and by what Pulumi says", () => {
    const none = track();
    const end = (said: string) => endingOf({ ok: false, interrupted: false, said, refused: undefined }, none);
    expect(end("error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end")).toBe(
      "lock",
    );
    expect(end("error: incorrect passphrase")).toBe("config");
    expect(end("error: something new")).toBe("other");
    const words = [
      "2 problems in the settings; nothing was changed.\n  togather:tls: …",
      "The deployment production is locked: another one is running. Nothing was changed.",
    ];
    const told = track(...words.map((message) => diagnostic(message, "error")));
    for (const refused of ["config", "lock"] as const)
      expect(endingOf({ ok: false, interrupted: false, said: "", refused }, told)).toBe(refused);
    expect(endingOf({ ok: false, interrupted: false, said: words.join("\n"), refused: undefined }, told)).toBe("other");
    expect(endingOf({ ok: true, interrupted: false, said: "", refused: undefined }, none)).toBe("ok");
  });

  it("keeps a phase of many resources as one, and failed once one of them failed", () => {
    const part = (name: string) => urn("Database", name, "postgresql:index/extension:Extension");
    const tracker = track(
      event("resourcePreEvent", part("a")),
      event("resourcePreEvent", part("b")),
      event("resOpFailedEvent", part("a")),
      event("resOutputsEvent", part("b")),
    );
    expect(tracker.phases).toMatchObject([{ phase: "database", status: "failed", active: 0 }]);
  });

  it("warns of what matters", () => {
    const tracker = track(
      diagnostic("togather:tls: staging serves HTTPS", "warning"),
      diagnostic("Undefined value (httpsUrl) will not show as a stack output.", "warning"),
    );
    expect(tracker.diagnostics.warnings).toEqual(["togather:tls: staging serves HTTPS"]);
  });
});

describe("what came out of a phase", () => {
  it("is said in a few words", () => {
    const stdout = (result: object) => ({ stdout: JSON.stringify(result) });
    expect(describeResult("migrate", stdout({ from: 41, to: 43, applied: ["a", "b"] }))).toBe(
      "2 run, schema version 41 to 43",
    );
    expect(describeResult("migrate", stdout({ from: 4, to: 4, applied: [] }))).toBe("none to run, schema version 4");
    expect(describeResult("switch", stdout({ from: "blue", to: "green" }))).toBe("traffic moved blue to green");
    expect(describeResult("switch", stdout({ from: null, to: "blue" }))).toBe("traffic goes to blue");
    expect(describeResult("build", stdout({ built: false }))).toBe("is there already");
    expect(describeResult("snapshot", stdout({ file: "/b/x.sql.gz", bytes: 214_000_000 }))).toBe(
      "/b/x.sql.gz, 214.0 MB",
    );
    expect(describeResult("rehearse", stdout({ skipped: null, rows: 12, files: ["a"], serving: "v1: /health" }))).toBe(
      "1 run on a copy; 12 rows restored; v1: /health",
    );
    expect(describeResult("rehearse", stdout({ skipped: null, rows: 0, files: [] }))).toBe(
      "nothing to rehearse; 0 rows restored",
    );
    // A rehearsal that failed, or did not run, has no result.
    for (const nothing of [undefined, {}, { stdout: "" }]) expect(describeResult("rehearse", nothing)).toBe("");
    expect(describeResult("gate", { stdout: "[secret]" })).toBe("");
    expect(describeResult("container", undefined)).toBe("");
  });
});

describe("an error", () => {
  it("is what the step said, without what is put around it", () => {
    const messages = [
      'exit status 1: running "node ops/main.ts gate":\n14:30:30 INFO    green: waiting\n14:30:39 ERROR   green did not pass the gate:\n  http       FAILED  HTTP 503\n                 → docker logs togather-production-green',
      "update failed",
    ];
    expect(errorText(messages)).toBe(
      "green did not pass the gate:\n  http       FAILED  HTTP 503\n  → docker logs togather-production-green",
    );
  });

  it("has nothing of a warning before it, the lines that belong to the warning neither", () => {
    const message =
      'exit status 1: running "node ops/main.ts migrate":\n05:00:02 WARN    migrate: the lint has found\n  000033_a.up.sql:3: drop-index-blocking\n                 → DROP INDEX CONCURRENTLY\n05:00:02 ERROR   the lint has found 1 error:\n  000044_b.up.sql:4: drop-column\nerror: exit status 1';
    const expected = "the lint has found 1 error:\n  000044_b.up.sql:4: drop-column\nerror: exit status 1";
    expect(errorText([message])).toBe(expected);
    // A step that the command runs itself is read line by line.
    expect(errorText(message.split("\n"))).toBe(expected);
    expect(errorText(["1 problem in the settings:\n  togather:slots: none"])).toBe(
      "1 problem in the settings:\n  togather:slots: none",
    );
  });
});
