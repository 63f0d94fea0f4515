import { describe, expect, it } from "vitest";
import { slotNames, type SlotName } from "../ops/contract/steps.ts";
import {
  differences,
  differenceText,
  hadIn,
  isRecordWrong,
  servedBy,
  startOf,
  trafficProblem,
  type Difference,
  type RealNow,
  type RecordedNow,
  type WantedNow,
} from "./differences.ts";
import { planLine } from "./plan.ts";
import { isSameRelease, otherSlot } from "../ops/contract/release.ts";

const v1 = { version: "v1.0.0", commit: "1".repeat(40) };
const v2 = { version: "v2.0.0", commit: "2".repeat(40) };
const v3 = { version: "v3.0.0", commit: "3".repeat(40) };
const slotOrNone = ["blue", "green", undefined] as const;

interface Case {
  wanted: WantedNow;
  recorded: RecordedNow | undefined;
  real: RealNow;
}

/** Every combination of wanted, recorded and real state. */
function* cases(): Generator<Case> {
  const containers = ["running", "exited", undefined] as const;
  for (const activeSlot of slotNames)
    for (const standby of ["running", "stopped", "removed"] as const)
      for (const idleWanted of [true, false])
        for (const bundledDatabase of [true, false])
          for (const recorded of [undefined, ...slotOrNone.map((slot) => ({ activeSlot: slot }))])
            for (const memory of slotOrNone)
              for (const file of slotOrNone)
                for (const router of containers)
                  for (const database of bundledDatabase ? containers : [undefined])
                    for (const active of containers)
                      for (const idle of containers)
                        for (const holds of [v1, v3]) {
                          const other = otherSlot(activeSlot);
                          // A stopped nginx has no answer.
                          if (router !== "running" && memory !== undefined) continue;
                          yield {
                            wanted: {
                              activeSlot,
                              standby,
                              bundledDatabase,
                              slots: { [activeSlot]: v1, ...(idleWanted ? { [other]: v2 } : {}) },
                            },
                            recorded,
                            real: {
                              router: router === undefined ? undefined : { memory, file },
                              states: Object.fromEntries(
                                Object.entries({ router, database, [activeSlot]: active, [other]: idle }).filter(
                                  ([, state]) => state !== undefined,
                                ),
                              ),
                              had: { [other]: v2 },
                              held: {
                                ...(active === undefined ? {} : { [activeSlot]: holds }),
                                ...(idle === undefined ? {} : { [other]: v2 }),
                              },
                            },
                          };
                        }
}

/** The state after `up` has mended a difference. */
function repaired({ wanted, recorded, real }: Case, found: Difference): Case {
  const state = (part: string, now: string | undefined): RealNow["states"] =>
    Object.fromEntries(
      Object.entries<string | undefined>({ ...real.states, [part]: now }).filter(([, value]) => value !== undefined),
    );
  if (found.kind === "missing") {
    const held = found.release === undefined ? real.held : { ...real.held, [found.part]: found.release };
    // Its volume has the earlier file, or none.
    const router = found.part === "router" ? { memory: undefined, file: undefined } : real.router;
    return { wanted, recorded, real: { ...real, router, held, states: state(found.part, "running") } };
  }
  switch (found.repair) {
    case "switch":
      return {
        wanted,
        recorded,
        real: { ...real, router: real.router && { memory: wanted.activeSlot, file: wanted.activeSlot } },
      };
    case "start":
      return { wanted, recorded, real: { ...real, states: state(found.part, "running") } };
    case "release":
      return {
        wanted,
        recorded,
        real: {
          ...real,
          held: { ...real.held, [found.slot]: found.wants },
          states: found.wants === undefined ? state(found.slot, undefined) : real.states,
        },
      };
    case "record":
      return { wanted, recorded: { activeSlot: found.serves }, real };
    case "refused":
    case "none":
      return { wanted, recorded, real };
  }
}

describe("what is wanted, recorded and real", () => {
  const all = [...cases()];
  const found = all.map((one) => differences(one.wanted, one.recorded, one.real));

  it("covers the combinations", () => {
    expect(all.length).toBeGreaterThan(20_000);
    expect(new Set(found.flat().map(({ kind }) => kind)).size).toBe(6);
  });

  it("agree exactly where there is no difference", () => {
    const wrong: string[] = [];
    for (const [i, { wanted, recorded, real }] of all.entries()) {
      const { activeSlot, slots, standby, bundledDatabase } = wanted;
      const deployed = real.router !== undefined || Object.keys(real.states).length > 0;
      const idle = otherSlot(activeSlot);
      const isRunning = (part: keyof RealNow["states"]): boolean => real.states[part] === "running";
      const agree =
        isRunning("router") &&
        real.router?.file === activeSlot &&
        (real.router.memory ?? activeSlot) === activeSlot &&
        (recorded === undefined || recorded.activeSlot === activeSlot) &&
        (!bundledDatabase || isRunning("database")) &&
        isRunning(activeSlot) &&
        isSameRelease(real.held[activeSlot], slots[activeSlot]) &&
        (slots[idle] === undefined
          ? real.states[idle] === undefined
          : standby === "running"
            ? isRunning(idle)
            : standby === "removed" || real.states[idle] !== undefined);
      if ((found[i]?.length === 0) !== (agree || !deployed)) wrong.push(JSON.stringify([all[i], found[i]]));
    }
    expect(wrong.slice(0, 3)).toEqual([]);
  });

  it("are made one by the repairs of a single up, and what serves is touched by none", () => {
    const wrong: string[] = [];
    for (const one of all) {
      let now = one;
      // A new router or server may have further differences: the same `up` mends all of them.
      for (let round = 0; round < 3; round += 1)
        for (const difference of differences(now.wanted, now.recorded, now.real)) {
          const serves = servedBy(now.real);
          const part = "part" in difference ? difference.part : "slot" in difference ? difference.slot : undefined;
          if (difference.kind === "release" && difference.repair === "release" && part === serves)
            wrong.push(JSON.stringify([one, difference]));
          if ("part" in difference && now.real.states[difference.part] === "running")
            wrong.push(JSON.stringify([one, difference]));
          now = repaired(now, difference);
        }
      const left = differences(now.wanted, now.recorded, now.real).filter(({ repair }) => repair !== "refused");
      if (left.length > 0) wrong.push(JSON.stringify([one, left]));
    }
    expect(wrong.slice(0, 3)).toEqual([]);
  });

  it("are told in sentences that hold: who serves is who the router says", () => {
    const wrong: string[] = [];
    const names = { name: "production", file: "Pulumi.production.yaml" };
    for (const [i, { wanted, real }] of all.entries()) {
      const serves: SlotName | undefined = servedBy(real);
      for (const difference of found[i] ?? []) {
        const text = differenceText(difference, names);
        const claimed =
          / to serve, (blue|green) does/.exec(text)?.[1] ?? /router sends requests to (blue|green)/.exec(text)?.[1];
        const wants = /wants (blue|green) to serve/.exec(text)?.[1];
        if (
          (claimed !== undefined && claimed !== serves) ||
          (text.includes("no slot to send") && serves !== undefined) ||
          (wants !== undefined && wants !== wanted.activeSlot) ||
          /undefined|null|\[object/.test(text)
        )
          wrong.push(`${text}: ${JSON.stringify(all[i])}`);
      }
    }
    expect(wrong.slice(0, 3)).toEqual([]);
  });

  it("tell what keeps requests from the slot that is to serve", () => {
    const wanted = { activeSlot: "green", slots: { green: v2 }, standby: "running", bundledDatabase: false } as const;
    const problem = (router: RealNow["router"], states: RealNow["states"] = {}): string | undefined =>
      trafficProblem(
        differences(wanted, undefined, {
          router,
          states: { router: "running", green: "running", ...states },
          held: { green: v2 },
          had: {},
        }),
        { name: "x", file: "the stack file" },
      );
    const well = { memory: "green", file: "green", silence: null } as const;
    expect(problem(well)).toBeUndefined();
    expect(problem({ ...well, silence: undefined })).toBeUndefined();
    // It answers all the same.
    expect(problem({ ...well, file: "blue" })).toBeUndefined();
    expect(problem({ ...well, memory: "blue" })).toBe("the stack file wants green to serve, blue does");
    expect(problem({ ...well, memory: undefined, silence: "no answer" }, { router: "exited" })).toBe(
      "nothing serves: togather-x-router is exited",
    );
    expect(problem({ memory: undefined, file: undefined, silence: "HTTP 503" })).toBe(
      "nothing serves: the router has no slot to send requests to (HTTP 503)",
    );
    expect(problem({ ...well, silence: "HTTP 502" })).toBe(
      "nothing serves: the router sends requests to green, which does not answer (HTTP 502): docker logs togather-x-green",
    );
    expect(
      trafficProblem(
        differences(wanted, undefined, { router: undefined, states: { green: "running" }, held: {}, had: {} }),
        {
          name: "x",
          file: "f",
        },
      ),
    ).toBe("nothing serves: the router has no container (togather-x-router)");
  });

  it("tell a release that is recorded, and is not what serves", () => {
    const wanted = { activeSlot: "blue", slots: { blue: v1 }, standby: "running", bundledDatabase: false } as const;
    const real = {
      router: { memory: "blue", file: "blue" },
      states: { router: "running", blue: "running" },
      held: { blue: v1 },
      had: {},
    } as const;
    const found = (release: typeof v1 | undefined): Difference[] =>
      differences(wanted, { activeSlot: "blue", release }, real);
    expect([isRecordWrong(found(v1)), isRecordWrong(found(undefined)), isRecordWrong(found(v2))]).toEqual([
      false,
      false,
      true,
    ]);
    expect(found(v2).map((one) => differenceText(one, { name: "x", file: "f" }))).toEqual([
      "deployment-state.json says that blue holds v2.0.0 (2222222), which is not what serves",
    ]);
  });

  it("are where a deployment starts from, in the same words everywhere", () => {
    const wanted = {
      activeSlot: "blue",
      slots: { blue: v1, green: v2 },
      standby: "running",
      bundledDatabase: false,
    } as const;
    const router = { memory: "blue", file: "blue" } as const;
    const both = { router: "running", blue: "running", green: "running" };
    const plan = (real: Partial<RealNow>): string =>
      planLine(startOf(wanted, { router, states: both, held: { blue: v1, green: v2 }, had: { blue: v1 }, ...real }), {
        ...wanted,
        skipMigrations: false,
        force: false,
      });
    expect(plan({})).toBe("traffic stays on blue");
    expect(plan({ states: { ...both, blue: "exited" } })).toBe("traffic comes back to blue");
    expect(plan({ states: { ...both, router: "exited" } })).toBe("traffic comes back to blue");
    expect(plan({ states: { router: "running", green: "running" }, held: { green: v2 } })).toBe(
      "blue's container is gone, and is made again with v1.0.0 (1111111); traffic comes back to blue",
    );
    expect(
      plan({ states: { router: "running", blue: "running" }, held: { blue: v1 }, had: { blue: v1, green: v2 } }),
    ).toBe("green's container is gone, and is made again with v2.0.0 (2222222); traffic stays on blue");
    expect(plan({ states: { router: "running", blue: "running" }, held: { blue: v1 } })).toBe(
      "green gets v2.0.0 (2222222); traffic stays on blue",
    );
    expect(plan({ router: undefined, states: { blue: "running", green: "running" } })).toBe("traffic starts on blue");
    expect(plan({ held: { blue: v3, green: v2 } })).toMatch(/^blue gets v1\.0\.0 .*in place, while it serves/);
  });

  it("tell a container that was removed from one that is still to come", () => {
    const wanted = {
      activeSlot: "blue",
      slots: { blue: v1, green: v2 },
      standby: "running",
      bundledDatabase: false,
    } as const;
    const real = {
      router: { memory: "blue", file: "blue" },
      states: { router: "running", blue: "running" },
      held: { blue: v1 },
    } as const;
    const repair = (had: RealNow["had"], change: Partial<WantedNow> = {}): string[] =>
      differences({ ...wanted, ...change }, undefined, { ...real, had }).map((one) => `${one.kind} ${one.repair}`);
    expect(repair({ green: v2 })).toEqual(["missing make"]);
    expect(repair({})).toEqual(["missing release"]);
    expect(repair({ green: v3 })).toEqual(["missing release"]);
    expect(repair({ green: v2 }, { standby: "removed" })).toEqual([]);
  });

  it("is what the last deployment has left, whoever asks: a slot that was emptied has served as well", () => {
    const served = { blue: v1, green: v2 };
    expect(hadIn({ served, left: { blue: v1 } })).toEqual({ blue: v1 });
    expect(hadIn({ served, left: {} })).toEqual(served);
    expect(hadIn({ served })).toEqual(served);
    expect(hadIn({ served, without: ["green"] })).toEqual({ blue: v1 });
  });
});
