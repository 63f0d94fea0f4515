import { describe, expect, it } from "vitest";
import type { Entry } from "../host/entries.ts";
import { findSnapshot, snapshotBefore, type ListedSnapshot, type WayBack } from "./catalog.ts";
import { heldText, lossText, lostMeanwhile } from "./restore.ts";
import type { Release } from "../../ops/contract/steps.ts";
import type { Manifest } from "../../ops/contract/manifest.ts";

function listed(id: string, commit: string, schema: number | null, dirty = false): ListedSnapshot {
  return {
    id,
    file: `togather_a_${id}.sql.gz`,
    bytes: 1,
    manifest: {
      time: day(id.slice(6, 8)),
      before_commit: commit,
      migration_version: schema,
      migration_dirty: dirty,
    } as Manifest,
  };
}
const day = (text: string, hour = "00"): string => `2026-01-${text}T${hour}:00:00.000Z`;

describe("the snapshot of the database as a release had it", () => {
  const [v1, v2, v3] = [1, 2, 3].map((n) => ({ version: `v${n}`, commit: `v${n}` })) as [Release, Release, Release];
  /** A deployment of an hour, on a day. */
  const deployed = (
    on: string,
    release: Release,
    status: Entry["status"] = "succeeded",
  ): WayBack["history"][number] => ({ status, ...release, startedAt: day(on), endedAt: day(on, "01") });
  const id = (snapshots: ListedSnapshot[], way: Partial<WayBack>): string | undefined =>
    snapshotBefore(snapshots, { target: v1, givenUp: v2, needs: 4, history: [], ...way })?.id.slice(6, 8);

  it("is the newest one with its schema", () => {
    expect(
      id([listed("20260103_000000", "v2", 4), listed("20260102_000000", "v1", 3)], {
        history: [deployed("03", v2), deployed("02", v1)],
      }),
    ).toBe("03");
    // Also where the history is lost.
    expect(id([listed("20260103_000000", "v2", 4), listed("20260102_000000", "v1", 3)], {})).toBe("03");
  });
  it("is that of an attempt that failed, where the one that succeeded found its migrations applied", () => {
    const fixed = { version: "v2.0.1", commit: "v2.0.1" };
    const snapshots = [
      listed("20260104_000000", "v2.0.1", 5),
      listed("20260103_000000", "v2", 4),
      listed("20260102_000000", "v1", 3),
    ];
    const history = [deployed("04", fixed), deployed("03", v2, "failed"), deployed("02", v1)];
    expect(id(snapshots, { givenUp: fixed, history })).toBe("03");
    expect(id(snapshots, { givenUp: fixed })).toBe("03");
    // Expired, or left dirty by a failed migration: no snapshot is better than a wrong one.
    expect(
      id(
        snapshots.filter(({ id }) => id !== "20260103_000000"),
        { givenUp: fixed, history },
      ),
    ).toBeUndefined();
    expect(id([listed("20260104_000000", "v2.0.1", 4, true)], { givenUp: fixed, history })).toBeUndefined();
  });
  it("has the schema that a rollback before has left ahead", () => {
    const snapshots = [
      listed("20260105_000000", "v3", 5),
      listed("20260103_000000", "v2", 4),
      listed("20260102_000000", "v1", 3),
    ];
    expect(
      id(snapshots, {
        givenUp: v3,
        history: [deployed("05", v3), deployed("04", v1), deployed("03", v2), deployed("02", v1)],
      }),
    ).toBe("05");
  });
  it("may be one that a person took, which tells nothing of the schema that the older release had", () => {
    const byHand = (of: ListedSnapshot): ListedSnapshot => ({
      ...of,
      manifest: { ...of.manifest, reason: "an import" } as Manifest,
    });
    const history = [deployed("04", v2), deployed("02", v1)];
    const own = listed("20260104_000000", "v2", 4);
    const [while1, while2] = [listed("20260103_000000", "v1", 4), listed("20260105_000000", "v2", 5)].map(byHand);
    if (while1 === undefined || while2 === undefined) throw new Error("none");
    expect(id([while2, own, while1], { history })).toBe("04");
    expect(id([while2, while1], { history })).toBe("03");
  });
  it("is none from before the target served, and none that its successor has written into", () => {
    const history = [deployed("03", v2), deployed("02", v1)];
    expect(id([listed("20260101_000000", "v0", 4)], { history })).toBeUndefined();
    // A hotfix without a snapshot, between two releases that need the same schema.
    expect(
      id([listed("20260103_000000", "v2", 4), listed("20260102_000000", "v1", 4)], {
        target: v2,
        givenUp: v3,
        history: [deployed("04", v3), ...history],
      }),
    ).toBeUndefined();
    expect(
      id([listed("20260104_000000", "v1", 4), listed("20260103_000000", "v2", 4)], {
        history: [deployed("04", v3, "failed"), ...history],
      }),
    ).toBe("03");
  });
  it("is none where nobody knows the schema, or there is no manifest", () => {
    expect(id([listed("20260103_000000", "v2", 4)], { needs: undefined })).toBeUndefined();
    expect(id([{ ...listed("20260103_000000", "v2", 4), manifest: undefined }], {})).toBeUndefined();
    expect(id([listed("20260103_000000", "v2", null)], { needs: null })).toBe("03");
  });
});

describe("a snapshot's id", () => {
  const snapshots = [listed("20260104_000000", "v2", 5), listed("20260103_000000", "v2", 4)];
  it("may be cut short, a file's name, or latest", () => {
    for (const id of ["20260104_000000", "20260104", "togather_a_20260104_000000.sql.gz", "latest"])
      expect(findSnapshot(snapshots, id, "snapshots list").id, id).toBe("20260104_000000");
  });
  it("that means none or several is refused", () => {
    expect(() => findSnapshot(snapshots, "2025", "snapshots list")).toThrow("there is no snapshot 2025");
    expect(() => findSnapshot(snapshots, "2026", "snapshots list")).toThrow("2026 is the beginning of 2 snapshots");
    expect(() => findSnapshot([], "latest", "snapshots list")).toThrow("there is no snapshot latest");
  });
});

describe("what a restore loses", () => {
  const result = {
    file: "f",
    time: "2026-01-01T00:00:00Z",
    beforeVersion: "v2",
    database: "togather",
    rows: 7,
    counted: "exact" as const,
    jobs: null,
    schema: { now: 5, snapshot: null },
    replaced: null,
    swapMs: null,
    durationMs: 1,
  };
  it("is told table by table", () => {
    const lines = lossText({
      ...result,
      lost: [
        { table: "public.a", snapshot: 7, now: 9, written: 3 },
        { table: "public.b", snapshot: null, now: 1, written: null },
      ],
    }).split("\n");
    expect(lines[0]).toBe(
      "The snapshot of 2026-01-01 00:00:00Z, before v2, has 7 rows, schema version none. The database now has schema version 5.",
    );
    expect(lines.slice(3)).toEqual([
      "public.a  7                9    3",
      "public.b  no table         1    can't be told",
    ]);
  });
  it("is told of one that a person took", () => {
    expect(lossText({ ...result, lost: [], reason: "before the import" })).toMatch(
      /^The snapshot of 2026-01-01 00:00:00Z, while v2 served \(before the import\), has 7 rows/,
    );
  });
  it("is told again where servers went on writing while it was loaded", () => {
    const lost = [{ table: "public.a", snapshot: 7, now: 9, written: 3 }];
    const before = { ...result, lost };
    expect(lostMeanwhile(before, { ...before, replaced: "togather_before_x" })).toBeUndefined();
    expect(lostMeanwhile({ ...before, lost: [] }, { ...before, replaced: null })).toBeUndefined();
    const more = lostMeanwhile(before, {
      ...result,
      replaced: "togather_before_x",
      lost: [{ table: "public.a", snapshot: 7, now: 12, written: 6 }],
    });
    expect(more?.split("\n")).toEqual([
      "Servers went on writing while the snapshot was loaded. What is lost to them in the end (it is in togather_before_x):",
      "TABLE     IN THE SNAPSHOT  AT THE SWAP  INSERTED OR CHANGED SINCE",
      "public.a  7                12           6",
    ]);
  });
  it("tells what servers would do once more, and how to keep them from it", () => {
    const text = (jobs: { queued: number | null; doneSince: number; held: number }): string =>
      lossText({ ...result, lost: [], jobs });
    expect(text({ queued: 17, doneSince: 12, held: 0 })).toMatch(
      /\n17 jobs were queued then; those that are done since \(12 are known to be\) are done again: .*--hold-jobs/,
    );
    expect(text({ queued: null, doneSince: 3, held: 0 })).toMatch(
      /\nJobs that were queued then that are done since \(3 are/,
    );
    expect(text({ queued: 0, doneSince: 0, held: 0 })).not.toMatch(/jobs/);
    expect(heldText({ ...result, lost: [], jobs: { queued: 17, doneSince: 12, held: 17 } }, "production")).toBe(
      "17 jobs that were queued then are on hold (state pending). To have them worked:\n  → docker exec -u postgres togather-production-db psql -d togather -c \"UPDATE river_job SET state = 'available' WHERE state = 'pending'\"",
    );
    expect(heldText({ ...result, lost: [] }, "production")).toBeUndefined();
  });
  it("may be nothing", () => {
    expect(lossText({ ...result, lost: [] })).toMatch(/nothing was written since/);
    for (const counted of ["without-open", "rows-only"] as const) {
      expect(lossText({ ...result, lost: [], counted })).toMatch(
        /As far as can be told, no table differs from it\..*not counted\./s,
      );
    }
  });
});
