import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";
import { inResult } from "./rehearsal.ts";

it("names so few tables in its result that the step can be started with it again", () => {
  const tables = Array.from({ length: 2_000 }, (_, index) => `public.events_of_the_year_and_month_${index}`);
  const locks = tables.map((table, index) => ({ table, mode: "AccessExclusiveLock", heldMs: tables.length - index }));
  const files = Array.from({ length: 60 }, (_, index) => ({
    file: `${index}_partitions.up.sql`,
    durationMs: 1,
    locks,
    rewritten: tables,
    bytes: 0,
  }));
  const kept = inResult(files);
  expect(
    spawnSync("/bin/sh", ["-c", "true"], { env: { PULUMI_COMMAND_STDOUT: JSON.stringify(kept) } }).error,
  ).toBeUndefined();
  // Only the longest ones; a single file keeps all.
  expect(kept[0]?.locks).toEqual(locks.slice(0, 3));
  expect(inResult([{ ...files[0], locks: locks.slice(0, 100) } as (typeof files)[number]])[0]?.locks).toHaveLength(100);
});
