import { describe, expect, it } from "vitest";
import { type PhaseRun } from "./phases.ts";
import { PhaseTracker } from "./phases.ts";
import { endText, wayOut } from "./report.ts";

const v1 = { version: "v1.0.0", commit: "1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d" };
const v2 = { version: "v1.1.0", commit: "9f8e7d6c5b4a39281706f5e4d3c2b1a098765432" };

/**
 * The commands that are suggested after a failed phase; blue serves.
 * @param held the release in green before.
 */
function commands(activeSlot: "blue" | "green", held: typeof v1 | undefined, phase = "gate"): string {
  const lines = wayOut(
    {
      file: { stack: "production", name: "Pulumi.production.yaml" } as never,
      before: { serving: { slot: "blue", release: v1 }, slots: { blue: v1, ...(held && { green: held }) } },
      skipMigrations: false,
      force: false,
    },
    { environment: "production", activeSlot, slots: { blue: v1, green: v2 } },
    "gate",
    { failed: { phase, subject: "green" } as PhaseRun, deploymentId: undefined },
  );
  return lines.join("\n").replaceAll(/ {2,}/g, " ");
}

describe("after a gate that failed, the way out", () => {
  it("is a rollback where the release is new", () => {
    expect(commands("green", undefined)).toMatch(/rollback --stack production gives up: blue stays/);
    expect(commands("green", v1)).toMatch(/up --stack production goes on where this one stopped/);
  });
  it("leads by the settings where the release has passed before, since no rollback knows what they were", () => {
    expect(commands("green", v2)).toMatch(/up --stack production once the settings are right/);
    expect(commands("green", v2)).toMatch(/rollback --stack production gives up, with the settings as they were: blue/);
  });
  it("is to empty a slot that is not to serve anyway: another rollback would fail as this one", () => {
    expect(commands("blue", v2)).not.toContain("rollback");
    expect(commands("blue", v2)).toMatch(
      /config rm --path togather:slots\.green --stack production and then up: gives up, green is empty/,
    );
  });
  it("is no rollback where the file says already what serves: that would be one to the other slot", () => {
    expect(commands("blue", v2, "switch")).not.toContain("rollback");
    expect(commands("blue", v2, "switch")).toMatch(/up --stack production once the settings are right/);
    expect(commands("blue", undefined, "migrate")).toMatch(/rollback --stack production gives up: blue stays/);
  });
});

it("names what steps warned of once more at the end, in a line each", () => {
  const tracker = new PhaseTracker();
  const warned = {
    ...(tracker as unknown as Record<string, unknown>),
    stepWarnings: ["switch: canary failed\n  at line 1"],
  };
  const result = {
    serving: { slot: "green", release: v2 },
    phases: [{}],
    interruptions: [],
    deploymentId: "d1",
    url: "u",
  };
  const ended = {
    deployment: { file: { stack: "production" }, dryRun: false },
    settings: { environment: "production" },
    tracker: warned,
    started: Date.now(),
    ok: true,
    redact: (text: string) => text.replaceAll("canary", "[secret]"),
  };
  expect(
    endText(result as never, ended as never)
      .split("\n")
      .slice(1),
  ).toEqual(["with a warning, shown above; in full: togather logs d1 --stack production", "  switch: [secret] failed"]);
});
