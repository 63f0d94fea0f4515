import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { tolerateExistingRoles } from "./roles.ts";
import { expireSnapshots, listSnapshots, manifestName, snapshotName, type Manifest } from "./snapshots.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "togather-snapshots-"));
});
afterEach(() => rm(directory, { recursive: true }));

async function put(name: string, stamp: string, time?: string): Promise<string> {
  const file = snapshotName(name, stamp);
  await writeFile(join(directory, file), "x");
  if (time !== undefined) await writeFile(join(directory, manifestName(file)), JSON.stringify(manifestOf(file, time)));
  return file;
}
function manifestOf(file: string, time: string): Manifest {
  const zero = { database_bytes: 1, row_estimate: 0, bytes: 1, duration_ms: 1, migration_version: null, migration_dirty: false };
  return { file, time, deployment: "a", environment: "staging", before_version: "v", before_commit: "c", database: "d", database_version: "17", tool_version: "17", sha256: "", ...zero };
}

describe("expireSnapshots", () => {
  it("keeps the newest by the manifest's time, and all that is not this deployment's", async () => {
    const newest = await put("production", "20260101_000000", "2026-03-01T00:00:00Z");
    const middle = await put("production", "20260201_000000");
    const oldest = await put("production", "20260102_000000", "2026-01-02T00:00:00Z");
    const others = [await put("production-2", "20250101_000000"), await put("prod", "20250101_000000"), "togather_production_x.sql.gz", "togather_production_20250101_000000.sql.gz.bak", "notes.txt"];
    for (const file of others.slice(2)) await writeFile(join(directory, file), "x");
    expect((await listSnapshots(directory, "production")).map(({ file }) => file)).toEqual([newest, middle, oldest]);
    expect(await expireSnapshots(directory, { name: "production", keep: 2, never: newest })).toEqual([oldest]);
    expect((await readdir(directory)).sort()).toEqual([...others, newest, manifestName(newest), middle].sort());
  });

  it("never removes the one that was just made, on a clock that went back", async () => {
    await put("a", "20260301_000000", "2026-03-01T00:00:00Z");
    const made = await put("a", "20250101_000000", "2025-01-01T00:00:00Z");
    expect(await expireSnapshots(directory, { name: "a", keep: 1, never: made })).toEqual([snapshotName("a", "20260301_000000")]);
    expect(await expireSnapshots(directory, { name: "a", keep: 1, never: made })).toEqual([]);
  });
});

describe("tolerateExistingRoles", () => {
  it("lets roles be that exist, and leaves everything else as it is", () => {
    const sql = "--\n-- Roles\n--\nCREATE ROLE \"a b\";\nALTER ROLE \"a b\" WITH LOGIN;\nSET x = 1;\nCOMMENT ON ROLE a IS 'CREATE ROLE\nCREATE ROLE x; it''s';\nALTER ROLE \"$togather$\" WITH LOGIN;\n";
    const lines = tolerateExistingRoles(sql).split("\n");
    expect(lines[3]).toBe('DO $togather$ BEGIN CREATE ROLE "a b"; EXCEPTION WHEN duplicate_object OR insufficient_privilege THEN NULL; END $togather$;');
    expect(lines[4]).toContain("DO $togather$");
    expect(lines.slice(5).join("\n")).toBe(`${sql.split("\n").slice(5).join("\n")}\n`);
  });
});
