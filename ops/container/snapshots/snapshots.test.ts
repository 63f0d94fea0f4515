import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { missingRoles, tolerateExistingRoles } from "../database/roles.ts";
import { formatOf, manifestName, snapshotFormats, snapshotName } from "../../contract/snapshot-format.ts";
import { expireSnapshots, listSnapshots, noteKept, removeLeftovers } from "./snapshots.ts";
import { type Manifest } from "../../contract/manifest.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "togather-snapshots-"));
});
afterEach(() => rm(directory, { recursive: true }));

async function put(name: string, stamp: string, time?: string): Promise<string> {
  const file = snapshotName(name, stamp, "sql.gz");
  await writeFile(join(directory, file), "x");
  if (time !== undefined) await writeFile(join(directory, manifestName(file)), JSON.stringify(manifestOf(file, time)));
  return file;
}
function manifestOf(file: string, time: string): Manifest {
  const zero = {
    database_oid: 1,
    database_bytes: 1,
    rows: 0,
    tables: {},
    extensions: {},
    next_transaction: "1",
    bytes: 1,
    plain_bytes: 1,
    roles_bytes: 0,
    duration_ms: 1,
    migration_version: null,
    migration_dirty: false,
  };
  return {
    file,
    format: formatOf(file),
    recipients: [],
    time,
    deployment: "a",
    environment: "staging",
    before_version: "v",
    before_commit: "c",
    database: "d",
    database_version: "17",
    tool_version: "17",
    sha256: "",
    ...zero,
  };
}

describe("expireSnapshots", () => {
  it("keeps the newest by the manifest's time, and all that is not this deployment's", async () => {
    const newest = await put("production", "20260101_000000", "2026-03-01T00:00:00Z");
    const middle = await put("production", "20260201_000000");
    const oldest = await put("production", "20260102_000000", "2026-01-02T00:00:00Z");
    const others = [
      await put("production-2", "20250101_000000"),
      await put("prod", "20250101_000000"),
      "togather_production_x.sql.gz",
      "togather_production_20250101_000000.sql.gz.bak",
      "notes.txt",
    ];
    for (const file of others.slice(2)) await writeFile(join(directory, file), "x");
    expect((await listSnapshots(directory, "production")).map(({ file }) => file)).toEqual([newest, middle, oldest]);
    expect(await expireSnapshots(directory, { name: "production", keep: 2, keepVerified: 0, never: newest })).toEqual([
      oldest,
    ]);
    expect((await readdir(directory)).sort()).toEqual([...others, newest, manifestName(newest), middle].sort());
  });

  it("never removes the one that was just made, on a clock that went back", async () => {
    await put("a", "20260301_000000", "2026-03-01T00:00:00Z");
    const made = await put("a", "20250101_000000", "2025-01-01T00:00:00Z");
    expect(await expireSnapshots(directory, { name: "a", keep: 1, keepVerified: 0, never: made })).toEqual([
      snapshotName("a", "20260301_000000", "sql.gz"),
    ]);
    expect(await expireSnapshots(directory, { name: "a", keep: 1, keepVerified: 0, never: made })).toEqual([]);
  });
});

describe("verified snapshots", () => {
  it("stay, the newest ones, when everything has expired", async () => {
    const stamps = ["20260101_000000", "20260102_000000", "20260103_000000", "20260104_000000", "20260105_000000"];
    const files: string[] = [];
    for (const [index, stamp] of stamps.entries()) {
      const file = await put("a", stamp);
      const manifest = manifestOf(file, `2026-01-0${index + 1}T00:00:00Z`);
      await writeFile(
        join(directory, manifestName(file)),
        JSON.stringify(index < 3 ? { ...manifest, verified_at: "2026-02-01T00:00:00Z" } : manifest),
      );
      files.push(file);
    }
    const made = files[4] ?? "";
    expect(await expireSnapshots(directory, { name: "a", keep: 1, keepVerified: 2, never: made })).toEqual([
      files[3],
      files[0],
    ]);
    expect(await expireSnapshots(directory, { name: "a", keep: 1, keepVerified: 2, never: made })).toEqual([]);
  });
});

describe("a snapshot that is about to be restored", () => {
  it("stays until then, however many are newer", async () => {
    const [old, chosen, made] = [
      await put("a", "20260101_000000", "2026-01-01T00:00:00Z"),
      await put("a", "20260102_000000", "2026-01-02T00:00:00Z"),
      await put("a", "20260103_000000", "2026-01-03T00:00:00Z"),
    ];
    await noteKept(directory, manifestOf(chosen, "2026-01-02T00:00:00Z"));
    expect(await expireSnapshots(directory, { name: "a", keep: 1, keepVerified: 0, never: made })).toEqual([old]);
    await writeFile(
      join(directory, manifestName(chosen)),
      JSON.stringify({ ...manifestOf(chosen, "2026-01-02T00:00:00Z"), keep_until: "2026-01-03T00:00:00Z" }),
    );
    expect(await expireSnapshots(directory, { name: "a", keep: 1, keepVerified: 0, never: made })).toEqual([chosen]);
  });
});

describe("removeLeftovers", () => {
  it("removes what is not whole, and nothing of others", async () => {
    const whole = await put("a", "20260101_000000", "2026-01-01T00:00:00Z");
    const others = [
      "togather_b_20260101_000000.sql.gz.partial",
      "togather_b_20260101_000000.json",
      ".togather_b_20260101_000000.json.0123456789ab.tmp",
      "notes.json",
    ];
    const ours = [
      "togather_a_20260102_000000.sql.gz.partial",
      "togather_a_20260103_000000.json",
      ".togather_a_20260103_000000.json.0123456789ab.tmp",
    ];
    for (const file of [...others, ...ours]) await writeFile(join(directory, file), "x");
    await removeLeftovers(directory, "a");
    expect((await readdir(directory)).sort()).toEqual([...others, whole, manifestName(whole)].sort());
  });
});

describe("tolerateExistingRoles", () => {
  it("lets roles be that exist, and leaves everything else as it is", () => {
    const sql =
      '--\n-- Roles\n--\nCREATE ROLE "a b";\nALTER ROLE "a b" WITH LOGIN;\nSET x = 1;\nCOMMENT ON ROLE a IS \'CREATE ROLE\nCREATE ROLE x; it\'\'s\';\nALTER ROLE "$togather$" WITH LOGIN;\n';
    const lines = tolerateExistingRoles(sql).split("\n");
    expect(lines[3]).toBe(
      'DO $togather$ BEGIN CREATE ROLE "a b"; EXCEPTION WHEN duplicate_object OR insufficient_privilege THEN NULL; END $togather$;',
    );
    expect(lines[4]).toContain("DO $togather$");
    expect(lines.slice(5).join("\n")).toBe(`${sql.split("\n").slice(5).join("\n")}\n`);
  });
});

describe("missingRoles", () => {
  it("makes only what is not there", () => {
    const sql = tolerateExistingRoles(
      'CREATE ROLE app;\nALTER ROLE app WITH LOGIN;\nCREATE ROLE "odd ""role";\nALTER ROLE "odd ""role" WITH NOLOGIN;\nGRANT app TO x;\n',
    );
    const { names, statements } = missingRoles(sql, ["app"]);
    expect(names).toEqual(['odd "role']);
    expect(statements).toEqual([
      expect.stringContaining('CREATE ROLE "odd ""role";'),
      expect.stringContaining('ALTER ROLE "odd ""role" WITH NOLOGIN;'),
    ]);
  });
});

describe("snapshots of all formats", () => {
  it("are listed, expired and cleaned up alike", async () => {
    const stamps = { "sql.gz": "20260101_000000", "sql.zst": "20260102_000000", directory: "20260103_000000" } as const;
    for (const format of snapshotFormats) {
      const file = snapshotName("a", stamps[format], format);
      expect(formatOf(file)).toBe(format);
      if (format === "directory") {
        await mkdir(join(directory, file));
        await writeFile(join(directory, file, "toc.dat"), "x");
      } else await writeFile(join(directory, file), "x");
      await writeFile(
        join(directory, manifestName(file)),
        JSON.stringify(manifestOf(file, `2026-01-0${1 + snapshotFormats.indexOf(format)}T00:00:00Z`)),
      );
    }
    expect((await listSnapshots(directory, "a")).map(({ file, manifest }) => [file, manifest?.format])).toEqual([
      ["togather_a_20260103_000000.dir", "directory"],
      ["togather_a_20260102_000000.sql.zst", "sql.zst"],
      ["togather_a_20260101_000000.sql.gz", "sql.gz"],
    ]);
    await mkdir(join(directory, "togather_a_20260104_000000.dir.partial"));
    await writeFile(join(directory, "togather_a_20260104_000000.dir.partial", "1.dat.zst"), "x");
    await removeLeftovers(directory, "a");
    expect((await readdir(directory)).length).toBe(6);
    expect(
      await expireSnapshots(directory, {
        name: "a",
        keep: 1,
        keepVerified: 0,
        never: "togather_a_20260101_000000.sql.gz",
      }),
    ).toEqual(["togather_a_20260103_000000.dir", "togather_a_20260102_000000.sql.zst"]);
    expect((await readdir(directory)).sort()).toEqual([
      "togather_a_20260101_000000.json",
      "togather_a_20260101_000000.sql.gz",
    ]);
  });

  it("may have a manifest from before there were others", async () => {
    const old = { ...manifestOf("togather_a_20260101_000000.sql.gz", "2026-01-01T00:00:00Z"), format: undefined };
    await writeFile(join(directory, "togather_a_20260101_000000.sql.gz"), "x");
    await writeFile(join(directory, "togather_a_20260101_000000.json"), JSON.stringify(old));
    expect((await listSnapshots(directory, "a"))[0]?.manifest?.format).toBe("sql.gz");
  });
});
