import { describe, expect, it } from "vitest";
import { findSnapshot, snapshotBefore, type ListedSnapshot } from "../../cli/snapshots/catalog.ts";
import { lossText } from "../../cli/snapshots/restore.ts";
import type { Manifest } from "../../ops/snapshots.ts";

function listed(id: string, commit: string, schema: number | null): ListedSnapshot {
  return { id, file: `togather_a_${id}.sql.gz`, bytes: 1, manifest: { before_commit: commit, migration_version: schema } as Manifest };
}

describe("the snapshot from before a release's migrations", () => {
  const snapshots = [listed("20260104_000000", "v2", 5), listed("20260103_000000", "v2", 4), listed("20260102_000000", "v1", 4), listed("20260101_000000", "v2", 3)];
  it("is the newest that lacks them", () => {
    expect(snapshotBefore(snapshots, "v2", 5)?.id).toBe("20260103_000000");
  });
  it("is the newest of the release where there were none to run, or nobody knows", () => {
    expect(snapshotBefore(snapshots, "v2", null)?.id).toBe("20260104_000000");
    expect(snapshotBefore(snapshots, "v1", 4)?.id).toBe("20260102_000000");
    expect(snapshotBefore(snapshots, "v3", 6)).toBeUndefined();
    expect(snapshotBefore([{ ...listed("20260101_000000", "v1", 1), manifest: undefined }], "v1", 1)).toBeUndefined();
  });
});

describe("a snapshot's id", () => {
  const snapshots = [listed("20260104_000000", "v2", 5), listed("20260103_000000", "v2", 4)];
  it("may be cut short, a file's name, or latest", () => {
    for (const id of ["20260104_000000", "20260104", "togather_a_20260104_000000.sql.gz", "latest"]) expect(findSnapshot(snapshots, id, "snapshots list").id, id).toBe("20260104_000000");
  });
  it("that means none or several is refused", () => {
    expect(() => findSnapshot(snapshots, "2025", "snapshots list")).toThrow("there is no snapshot 2025");
    expect(() => findSnapshot(snapshots, "2026", "snapshots list")).toThrow("2026 is the beginning of 2 snapshots");
    expect(() => findSnapshot([], "latest", "snapshots list")).toThrow("there is no snapshot latest");
  });
});

describe("what a restore loses", () => {
  const result = { file: "f", time: "2026-01-01T00:00:00Z", beforeVersion: "v2", database: "togather", rows: 7, schema: { now: 5, snapshot: null }, replaced: null, swapMs: null, durationMs: 1 };
  it("is told table by table", () => {
    const lines = lossText({ ...result, lost: [{ table: "public.a", snapshot: 7, now: 9, written: 3 }, { table: "public.b", snapshot: null, now: 1, written: null }] }).split("\n");
    expect(lines[0]).toBe("The snapshot of 2026-01-01 00:00:00Z, before v2, has 7 rows, schema version none. The database now has schema version 5.");
    expect(lines.slice(3)).toEqual(["public.a  7                9    3", "public.b  no table         1    can't be told"]);
  });
  it("may be nothing", () => {
    expect(lossText({ ...result, lost: [] })).toMatch(/nothing was written since/);
  });
});
