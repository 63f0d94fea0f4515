import { describe, expect, it } from "vitest";
import { describeFailure, duplicateVersion, failedBehindFile, failedLine, unreadFiles, upFiles } from "./migrations.ts";

describe("upFiles", () => {
  it("reads names as golang-migrate does, in order of their numbers", () => {
    const names = [
      "10_c.up.sql",
      "2_b.up.sql",
      "000001_a.up.sql",
      "000001_a.down.sql",
      "README.md",
      "x_1.up.sql",
      "20240101120000_d.up.sql",
    ];
    expect(upFiles(names).map(({ version }) => version)).toEqual([1, 2, 10, 20240101120000]);
  });

  it("finds names that golang-migrate passes over", () => {
    expect(
      unreadFiles([
        "1_a.up.sql",
        "2_b.UP.sql",
        "3-c.up.sql",
        "4.up.sql",
        "1_a.down.sql",
        "5_sign_up.sql",
        "README.up.md",
        ".6_d.up.sql.swp",
      ]),
    ).toEqual(["2_b.UP.sql", "3-c.up.sql", "4.up.sql"]);
  });

  it("finds two files of one version", () => {
    expect(duplicateVersion(upFiles(["1_a.up.sql", "0001_b.up.sql"]))).toEqual(["1_a.up.sql", "0001_b.up.sql"]);
    expect(duplicateVersion(upFiles(["1_a.up.sql", "2_b.up.sql"]))).toBeUndefined();
  });
});

describe("describeFailure", () => {
  const stderr = [
    "1/u a (5ms)",
    'error: migration failed: relation "nowhere" does not exist (column 13) in line 3: CREATE TABLE a ();',
    "INSERT INTO nowhere VALUES ('x');",
    ' (details: ERROR: relation "nowhere" does not exist (SQLSTATE 42P01))',
  ].join("\n");
  it("keeps the server's words, not the whole file", () => {
    expect(describeFailure(stderr)).toEqual({
      message: 'ERROR: relation "nowhere" does not exist (SQLSTATE 42P01)',
      sqlState: "42P01",
    });
    expect(failedLine(stderr)).toBe(3);
    expect(
      failedLine(
        'error: migration failed: null value in column "a" (column 4), Failing row contains (null). in line 5: SELECT',
      ),
    ).toBe(5);
  });

  it("knows no line where the server told no position, unless there is one statement", () => {
    const denied =
      "error: migration failed: permission denied for table a (column 0) in line 1: SELECT 1;\nINSERT INTO a ...";
    expect(failedLine(denied, [1, 2])).toBeUndefined();
    expect(failedLine(denied, [3])).toBe(3);
  });

  it("tells golang-migrate's note of a file from the file", () => {
    expect(failedBehindFile(stderr)).toBe(false);
    expect(
      failedBehindFile(
        'error: ERROR: canceling statement due to lock timeout (SQLSTATE 55P03) in line 0: TRUNCATE "public"."schema_migrations"',
      ),
    ).toBe(true);
    expect(failedBehindFile("error: migration failed in line 0: SELECT 1 (details: unexpected EOF)")).toBe(false);
    expect(failedBehindFile("error: unexpected EOF in line 0: TRUNCATE")).toBe(false);
  });

  it("knows when the server said nothing", () => {
    expect(describeFailure("error: migration failed in line 0: SELECT 1 (details: unexpected EOF)")).toMatchObject({
      sqlState: undefined,
    });
    expect(failedLine("error: x in line 0: SELECT")).toBeUndefined();
  });
});
