import { mkdtempSync, rmSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as pulumi from "@pulumi/pulumi";
import { execa } from "execa";
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { warnOfMigrations } from "./migration-lint.ts";
import { environmentRules, type EnvironmentName } from "../config/schema/environments.ts";
import { releaseOfSetting } from "../config/release.ts";
import type { Settings } from "../config/settings.ts";
import type { Serving } from "../ops/host/serving-slot.ts";

const repository = mkdtempSync(join(tmpdir(), "migration-lint-test-"));
const commits: string[] = [];
beforeAll(async () => {
  await mkdir(join(repository, "migrations"));
  const git = (...args: string[]): Promise<{ stdout: string }> =>
    execa("git", ["-C", repository, "-c", "user.name=t", "-c", "user.email=t@example.org", ...args]);
  await git("init", "--quiet");
  for (const [name, sql] of [
    ["1_a", "LOCK TABLE old;"],
    ["2_b", "SELECT 1;\nTRUNCATE events;"],
  ] as const) {
    for (const direction of ["up", "down"])
      await writeFile(join(repository, "migrations", `${name}.${direction}.sql`), sql);
    await git("add", ".");
    await git("commit", "--quiet", `--message=${name}`);
    commits.push((await git("rev-parse", "HEAD")).stdout);
  }
});
afterAll(() => {
  rmSync(repository, { recursive: true, force: true });
});
const warn = vi.spyOn(pulumi.log, "warn").mockResolvedValue();
beforeEach(() => {
  warn.mockClear();
});

const slot = (index: number): { version: string; commit: string } => ({
  version: `v${index}`,
  commit: commits[index] ?? "",
});
const serving = (): Serving => ({ slot: "blue", release: slot(0) });

const rest: { migrations: Settings["migrations"]; deployment: unknown } = {
  migrations: { allow: [] },
  deployment: { database: { migration_rehearsal: "auto" } },
};

/** The warnings of a preview; blue serves the first commit. */
async function preview(
  environment: EnvironmentName,
  pending: string[] | undefined,
  now: Serving | undefined = serving(),
  activeSlot: "blue" | "green" = "green",
): Promise<string[]> {
  const settings = {
    activeSlot,
    slots: { blue: releaseOfSetting(slot(0)), green: releaseOfSetting(slot(1)) },
    source: { repository, migrations: "migrations" },
    ...rest,
    rules: environmentRules[environment],
  };
  await warnOfMigrations(settings as unknown as Settings, activeSlot, now, pending);
  return warn.mock.calls.map(([message]) => message);
}

describe("a preview", () => {
  it("warns of what is found in the migrations that the database still lacks, and says where it will stop", async () => {
    expect(await preview("production", ["2_b.up.sql"])).toEqual([
      expect.stringMatching(
        /^migrations: .* errors in files .*\. This deployment will stop there:\n {2}2_b\.up\.sql:2: truncate: table events: [^\n]*\n {2}→ .*\{ file: 2_b\.up\.sql, rule: truncate, reason: [^\n]*$/,
      ),
    ]);
  });
  it("does not warn of what the stack file allows, but of what is of no use in it", async () => {
    rest.migrations = {
      allow: [
        { file: "2_b.up.sql", rule: "truncate", reason: "rebuilt by a job" },
        { file: "1_a.up.sql", rule: "lock-table", reason: "applied with it" },
        { file: "2_b.up.sql", rule: "drop-table", reason: "none" },
      ],
    };
    try {
      expect(await preview("production", ["2_b.up.sql"])).toEqual([
        "togather:migrations.allow names 2_b.up.sql with drop-table, but the lint doesn't find that there: take it out",
      ]);
    } finally {
      rest.migrations = { allow: [] };
    }
  });
  it("leaves it to the rehearsal where it is about locks alone", async () => {
    expect(await preview("production", ["1_a.up.sql"])).toEqual([
      expect.stringMatching(
        /locks in .*; one that is held for longer than a second stops it:\n {2}1_a\.up\.sql:1: lock-table[^\n]*$/,
      ),
    ]);
  });
  it("tells what stops it from what a rehearsal has to measure", async () => {
    expect(await preview("production", ["1_a.up.sql", "2_b.up.sql"])).toEqual([
      expect.stringMatching(/will stop there:\n {2}2_b[^\n]*\n {2}→ [^\n]*$/),
      expect.stringMatching(/stops it:\n {2}1_a[^\n]*$/),
    ]);
  });
  it("does not say so where it is a warning", async () => {
    expect(await preview("staging", ["2_b.up.sql"])).toEqual([expect.stringMatching(/would apply:\n {2}2_b/)]);
  });
  it("takes those that the release that serves lacks where the database was not asked", async () => {
    expect(await preview("production", undefined)).toEqual([
      expect.stringMatching(/stop there:\n {2}2_b[^\n]*\n {2}→[^\n]*$/),
    ]);
  });
  it("is silent where nothing is to be applied, on the way back, and before the first deployment", async () => {
    expect(await preview("production", [])).toEqual([]);
    expect(await preview("production", undefined, serving(), "blue")).toEqual([]);
    expect(await preview("production", undefined, { slot: "green", release: slot(1) }, "blue")).toEqual([]);
    const settings = {
      activeSlot: "blue",
      slots: { blue: releaseOfSetting(slot(0)) },
      source: { repository, migrations: "migrations" },
      ...rest,
      rules: environmentRules.production,
    };
    await warnOfMigrations(settings as unknown as Settings, "blue", undefined, ["1_a.up.sql"]);
    expect(warn).not.toHaveBeenCalled();
  });
});
