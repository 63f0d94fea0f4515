import { describe, expect, it } from "vitest";
import { plainSetting } from "../../config/release.ts";
import { planLine, releasedSlot, type Before } from "../../config/plan.ts";
import { resolveImage } from "./resolve-release.ts";
import { rollbackTarget } from "./rollback-target.ts";
import { Failure } from "../failure.ts";
import type { Entry } from "../host/entries.ts";

const v12 = { version: "v1.2.0", commit: `0000111${"0".repeat(33)}` };
const v13 = { version: "v1.3.2", commit: `9f8e7d6${"0".repeat(33)}` };
const v14 = { version: "v1.4.0", commit: `1a2b3c4${"0".repeat(33)}` };
const digest = `sha256:${"a".repeat(64)}`;
const normal = { skipMigrations: false, force: false };
const blueServes: Before = { serving: { slot: "blue", release: v13 }, slots: { blue: v13, green: v12 } };

describe("the plan in words", () => {
  it("of a release", () => {
    expect(planLine(blueServes, { ...normal, activeSlot: "green", slots: { blue: v13, green: v14 } })).toBe(
      "green gets v1.4.0 (1a2b3c4); traffic moves blue to green",
    );
  });
  it("with how traffic moves to what is new", () => {
    const rollout = { steps: [5, 50, 100], interval: "60s", bake: "5m", sticky: false };
    expect(planLine(blueServes, { ...normal, activeSlot: "green", slots: { blue: v13, green: v14 }, rollout })).toMatch(
      /traffic moves blue to green, by 5, 50 and 100 %, 60s each, and is watched for 5m$/,
    );
    expect(
      planLine(blueServes, {
        ...normal,
        activeSlot: "green",
        slots: { blue: v13, green: v14 },
        rollout: { ...rollout, steps: [], bake: "0s" },
      }),
    ).toMatch(/traffic moves blue to green$/);
    const flipped = { ...normal, activeSlot: "green", slots: { blue: v13, green: v12 }, rollout } as const;
    expect(planLine(blueServes, flipped)).toMatch(/traffic moves blue to green$/);
    expect(planLine({ ...blueServes, served: { blue: v13, green: v12 } }, flipped)).toMatch(
      /traffic moves blue to green$/,
    );
    // The slot was filled with --no-switch.
    expect(planLine({ ...blueServes, served: { blue: v13 } }, flipped)).toMatch(
      /traffic moves blue to green, by 5, 50 and 100 %/,
    );
  });

  it("takes the migrations of the slot that gets a release, also where traffic stays", () => {
    expect(releasedSlot(blueServes.slots, { activeSlot: "green", slots: { blue: v13, green: v14 } })).toBe("green");
    expect(releasedSlot(blueServes.slots, { activeSlot: "blue", slots: { blue: v13, green: v14 } })).toBe("green");
    expect(releasedSlot(blueServes.slots, { activeSlot: "blue", slots: { blue: v13, green: v12 } })).toBe("blue");
    expect(releasedSlot({}, { activeSlot: "blue", slots: { blue: v13 } })).toBe("blue");
  });

  it("says what becomes of the slot that has served", () => {
    const release = { ...normal, activeSlot: "green", slots: { blue: v13, green: v14 } } as const;
    expect(planLine(blueServes, { ...release, standby: "stopped" })).toMatch(
      /traffic moves blue to green; then blue is drained and stopped$/,
    );
    expect(planLine(blueServes, { ...release, standby: "running" })).toMatch(/traffic moves blue to green$/);
    expect(planLine(blueServes, { ...release, activeSlot: "blue", standby: "removed" })).toMatch(
      /traffic stays on blue$/,
    );
  });

  it("with how many migrations it will run, where somebody has looked", () => {
    const release = { ...normal, activeSlot: "green", slots: { blue: v13, green: v14 } } as const;
    expect(planLine(blueServes, { ...release, migrations: ["43_a.up.sql", "44_b.up.sql"] })).toBe(
      "green gets v1.4.0 (1a2b3c4); 2 migrations; traffic moves blue to green",
    );
    expect(planLine(blueServes, { ...release, migrations: ["43_a.up.sql"] })).toContain("; 1 migration; ");
    expect(planLine(blueServes, { ...release, migrations: [] })).toContain("; no migrations; ");
    expect(planLine(blueServes, { ...release, slots: { blue: v13, green: v12 }, migrations: [] })).toBe(
      "traffic moves blue to green",
    );
  });
  it("of the first one", () => {
    expect(planLine({ serving: undefined, slots: {} }, { ...normal, activeSlot: "blue", slots: { blue: v13 } })).toBe(
      "blue gets v1.3.2 (9f8e7d6); traffic starts on blue",
    );
  });
  it("of a rollback", () => {
    expect(planLine(blueServes, { ...normal, activeSlot: "green", slots: { blue: v13, green: v12 } })).toBe(
      "traffic moves blue to green",
    );
  });
  it("of nothing, also where the file has a short commit", () => {
    expect(
      planLine(blueServes, {
        ...normal,
        activeSlot: "blue",
        slots: { blue: { ...v13, commit: "9f8e7d6" }, green: v12 },
      }),
    ).toBe("traffic stays on blue");
  });
  it("of a release without migrations, of an image, of an emptied slot", () => {
    expect(
      planLine(blueServes, { ...normal, skipMigrations: true, activeSlot: "green", slots: { blue: v13, green: v14 } }),
    ).toBe("green gets v1.4.0 (1a2b3c4); no snapshot, no migrations; traffic moves blue to green");
    expect(
      planLine(blueServes, {
        ...normal,
        activeSlot: "green",
        slots: { blue: v13, green: plainSetting({ version: "v2", image: `server@${digest}` }) },
      }),
    ).toBe("green gets v2 (aaaaaaa); traffic moves blue to green");
    expect(planLine(blueServes, { ...normal, activeSlot: "blue", slots: { blue: v13 } })).toBe(
      "green is emptied, v1.2.0 (0000111) goes; traffic stays on blue",
    );
  });
  it("says loudly what interrupts traffic", () => {
    expect(
      planLine(blueServes, { ...normal, force: true, activeSlot: "blue", slots: { blue: v14, green: v12 } }),
    ).toMatch(/blue gets v1\.4\.0 \(1a2b3c4\), in place, while it serves: this interrupts traffic/);
  });
  it("does not say a version twice that is the commit", () => {
    expect(
      planLine(
        { serving: undefined, slots: {} },
        { ...normal, activeSlot: "blue", slots: { blue: { version: "9f8e7d6", commit: v13.commit } } },
      ),
    ).toMatch(/^blue gets 9f8e7d6;/);
  });
});

function entry(release: { version: string; commit: string }, status: Entry["status"] = "succeeded"): Entry {
  return {
    id: "20260128_143022_x",
    status,
    slot: "blue",
    ...release,
    startedAt: "",
    endedAt: "",
    durationMs: 1,
    deployedBy: "x",
    failedPhase: undefined,
    error: undefined,
    runs: 1,
  };
}
function refusal(run: () => unknown): { message: string; fix: string | undefined; ending: string } {
  try {
    run();
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error("it was not refused");
}

describe("a rollback", () => {
  const settled = { activeSlot: "blue" as const, slots: { blue: v13, green: v12 } };

  it("flips to the other slot", () => {
    expect(rollbackTarget(settled, blueServes, "production")).toEqual({
      activeSlot: "green",
      restore: undefined,
      sentence: "back to v1.2.0 (0000111) in green",
    });
  });

  it("gives up a release that failed, and puts back what its slot held", () => {
    const failed = { activeSlot: "green" as const, slots: { blue: v13, green: v14 } };
    expect(rollbackTarget(failed, blueServes, "production")).toEqual({
      activeSlot: "blue",
      restore: { slot: "green", release: v12 },
      sentence: "blue goes on serving v1.3.2 (9f8e7d6); v1.4.0 (1a2b3c4) is given up",
    });
    const first: Before = { serving: { slot: "blue", release: v13 }, slots: { blue: v13 } };
    expect(rollbackTarget(failed, first, "production").restore).toEqual({ slot: "green", release: undefined });
    const image: Before = { ...first, slots: { blue: v13, green: { version: "v1", commit: digest } } };
    expect(rollbackTarget(failed, image, "production").restore).toEqual({ slot: "green", release: undefined });
  });

  it("gives up a release from which traffic was sent back, and never goes to one that never served", () => {
    // The file's slot was corrected when traffic was sent back; the release is still in the other one.
    expect(
      rollbackTarget({ activeSlot: "blue", slots: { blue: v13, green: v14 } }, blueServes, "production"),
    ).toMatchObject({ activeSlot: "blue", restore: { slot: "green", release: v12 } });
    // A later run has recorded that release as its slot's content.
    const after = { ...blueServes, slots: { blue: v13, green: v14 } };
    const now = { activeSlot: "blue" as const, slots: { blue: v13, green: v14 } };
    const rolledBack = { ...entry(v14, "failed"), status: "rolled back" as const };
    expect(
      refusal(() => rollbackTarget(now, after, "production", { history: [entry(v13), rolledBack] })).message,
    ).toMatch(/green holds v1\.4\.0 .* never served well/);
    expect(rollbackTarget(now, after, "production", { history: [entry(v14), rolledBack] })).toMatchObject({
      activeSlot: "green",
    });
    // Filled with --no-switch: there is no deployment of it, and the router never had it.
    expect(
      refusal(() => rollbackTarget(now, after, "production", { history: [entry(v13)], served: { blue: v13 } })).message,
    ).toMatch(/green holds v1\.4\.0 .* traffic was not moved to it/);
    expect(rollbackTarget(now, after, "production", { history: [], served: { blue: v13, green: v14 } })).toMatchObject({
      activeSlot: "green",
    });
    expect(rollbackTarget(now, after, "production", { history: [] })).toMatchObject({ activeSlot: "green" });
  });

  it("gives up a flip that failed", () => {
    expect(rollbackTarget({ ...settled, activeSlot: "green" }, blueServes, "production")).toMatchObject({
      activeSlot: "blue",
      restore: undefined,
    });
  });

  it("that was done already has nothing to do, until something else serves or a deployment is named", () => {
    // v1.2.0 in green was followed by v1.3.2 in blue, which was given up: green serves again.
    const before: Before = { serving: { slot: "green", release: v12 }, slots: { blue: v13, green: v12 } };
    const file = { activeSlot: "green" as const, slots: { blue: v13, green: v12 } };
    const at = (release: typeof v12, slot: "blue" | "green", day: number): Entry => ({
      ...entry(release),
      id: `d${day}`,
      slot,
      endedAt: `2026-01-0${day}`,
    });
    const history = [at(v12, "green", 4), at(v12, "green", 3), at(v13, "blue", 2), at(v12, "green", 1)];
    expect(rollbackTarget(file, before, "production", { history })).toMatchObject({
      activeSlot: "green",
      restore: undefined,
      done: { ...v13, id: "d2" },
      sentence: "green serves v1.2.0 (0000111) since v1.3.2 (9f8e7d6) was given up",
    });
    expect(rollbackTarget(file, before, "production", { history, target: history[2] })).toMatchObject({
      activeSlot: "blue",
      restore: undefined,
    });
    // With its database restored, the slot that was given up is empty in the end.
    const emptied: Before = { ...before, slots: { green: v12 } };
    expect(rollbackTarget({ ...file, slots: { green: v12 } }, emptied, "production", { history })).toMatchObject({
      done: v13,
    });
    // Forward again on purpose, and now back.
    const forward: Before = { serving: { slot: "blue", release: v13 }, slots: before.slots };
    expect(
      rollbackTarget({ ...file, activeSlot: "blue" }, forward, "production", {
        history: [at(v13, "blue", 5), ...history],
      }),
    ).toMatchObject({ activeSlot: "green" });
    // The next release.
    const next: Before = { serving: { slot: "blue", release: v14 }, slots: { blue: v14, green: v12 } };
    const released = { activeSlot: "blue" as const, slots: { blue: v14, green: v12 } };
    expect(rollbackTarget(released, next, "production", { history: [at(v14, "blue", 5), ...history] })).toMatchObject({
      activeSlot: "green",
    });
    const back: Before = { serving: { slot: "green", release: v12 }, slots: next.slots };
    expect(
      rollbackTarget({ ...released, activeSlot: "green" }, back, "production", {
        history: [at(v12, "green", 6), at(v14, "blue", 5), ...history],
      }),
    ).toMatchObject({ done: { ...v14, id: "d5" } });
    // The same release in both slots, with other settings.
    const same: Before = { serving: { slot: "blue", release: v12 }, slots: { blue: v12, green: v12 } };
    const twice = { activeSlot: "blue" as const, slots: { blue: v12, green: v12 } };
    expect(
      rollbackTarget(twice, same, "production", { history: [at(v12, "blue", 2), at(v12, "green", 1)] }),
    ).toMatchObject({ activeSlot: "green" });
    expect(
      rollbackTarget(
        { ...twice, activeSlot: "green" },
        { ...same, serving: { slot: "green", release: v12 } },
        "production",
        { history: [at(v12, "green", 3), at(v12, "blue", 2), at(v12, "green", 1)] },
      ).done,
    ).toMatchObject(v12);
  });

  it("goes to a deployment whose release is in the other slot", () => {
    expect(rollbackTarget(settled, blueServes, "production", { target: entry(v12) })).toMatchObject({
      activeSlot: "green",
      restore: undefined,
    });
    // The other slot's release is restored when the file now has another one.
    expect(
      rollbackTarget({ activeSlot: "green", slots: { blue: v13, green: v14 } }, blueServes, "production", {
        target: entry(v12),
      }),
    ).toMatchObject({ activeSlot: "green", restore: { slot: "green", release: v12 } });
  });

  it("to what serves puts the file right", () => {
    expect(
      rollbackTarget({ activeSlot: "green", slots: { blue: v13, green: v14 } }, blueServes, "production", {
        target: entry(v13),
      }),
    ).toMatchObject({ activeSlot: "blue", restore: { slot: "green", release: v12 } });
  });

  it("to what is in neither slot goes by the idle one", () => {
    expect(rollbackTarget(settled, blueServes, "production", { target: entry(v14) })).toEqual({
      activeSlot: "green",
      restore: { slot: "green", release: v14 },
      sentence: "back to v1.4.0 (1a2b3c4), which is put into green again in the place of v1.2.0 (0000111)",
      kept: { ...v14, id: "20260128_143022_x" },
    });
  });

  it("to an image in neither slot is refused with the release command: its name is not known", () => {
    const image = { version: "v1.4.0", commit: `sha256:${"a".repeat(64)}` };
    expect(refusal(() => rollbackTarget(settled, blueServes, "production", { target: entry(image) }))).toMatchObject({
      message: expect.stringMatching(
        /v1\.4\.0 .* of 20260128_143022_x is in neither slot any more: blue serves v1\.3\.2 .*, green holds v1\.2\.0 .*; of an image, only its digest is recorded/,
      ) as string,
      fix: `togather release NAME@${image.commit} --version v1.4.0 --stack production`,
      ending: "config",
    });
  });

  it("to a deployment that never served is refused", () => {
    expect(
      refusal(() => rollbackTarget(settled, blueServes, "production", { target: entry(v12, "failed") })).message,
    ).toMatch(/failed: it never served/);
  });

  it("needs something to go back to", () => {
    expect(refusal(() => rollbackTarget(settled, { serving: undefined, slots: {} }, "production")).message).toMatch(
      /nothing has served yet/,
    );
    expect(
      refusal(() =>
        rollbackTarget(
          { activeSlot: "blue", slots: { blue: v13 } },
          { serving: { slot: "blue", release: v13 }, slots: { blue: v13 } },
          "production",
        ),
      ).message,
    ).toMatch(/green holds no release/);
  });
});

describe("an image by digest", () => {
  it("has the version of its tag, or the one given", () => {
    expect(resolveImage(`registry.example.org:5000/a/server:v1.4.0@${digest}`, undefined).release).toEqual({
      version: "v1.4.0",
      image: `registry.example.org:5000/a/server:v1.4.0@${digest}`,
    });
    expect(resolveImage(`server@${digest}`, "v2").release).toMatchObject({ version: "v2" });
  });
  it("is refused without a version, with a short digest, with a bad version", () => {
    expect(refusal(() => resolveImage(`server@${digest}`, undefined)).fix).toMatch(/--version/);
    expect(refusal(() => resolveImage("server@sha256:abc", "v1")).message).toMatch(/64 hexadecimal digits/);
    expect(refusal(() => resolveImage(`server@${digest}`, "v 1")).message).toMatch(/can't be a version/);
  });
});
