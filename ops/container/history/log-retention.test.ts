import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { expireLogs } from "./log-retention.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "togather-logs-"));
  for (const id of ["a", "b", "c", "d", "of-another"]) await writeFile(join(directory, `${id}.log`), "{}\n");
});
afterEach(() => rm(directory, { recursive: true }));

const logs = async (): Promise<string[]> => (await readdir(directory)).sort();

it("keeps the newest logs, and those of other deployments", async () => {
  // The history has an id once for each of its events. A log may be gone already.
  expect(await expireLogs(directory, ["gone", "a", "a", "b", "c", "b", "d"], 2)).toEqual(["a", "b"]);
  expect(await logs()).toEqual(["c.log", "d.log", "of-another.log"]);
});

it("removes nothing while there are few", async () => {
  expect(await expireLogs(directory, ["a", "b"], 2)).toEqual([]);
  expect(await logs()).toHaveLength(5);
});
