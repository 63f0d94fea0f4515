import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { cell, headOf, perMinute, tables } from "./judge-simulation.ts";

/** Rows of the tables in docs/benchmarks.md, without their outer bars. */
async function documented(): Promise<string[][]> {
  const text = await readFile(join(import.meta.dirname, "../../docs/benchmarks.md"), "utf8");
  const [, section = ""] = /^## The judge of a release\n(.*?)^## /ms.exec(text) ?? [];
  return section
    .split("\n")
    .filter((line) => line.startsWith("| "))
    .map((line) => line.slice(2, -2).split(" | "));
}

it("has its tables in the documents, row by row", async () => {
  const heads = (await documented()).map((cells) => cells.slice(0, 2).join(" | "));
  expect(heads).toEqual(
    Object.entries(tables).flatMap(([what, rows]) => [
      `${what} before | of the release`,
      ...rows.map((row) => headOf(row).join(" | ")),
    ]),
  );
});

it.each([
  ["errors", "0 %", "0 %", 10],
  ["errors", "0 %", "10 %, worse", 100],
  ["hangs", "0 %", "20 %, worse", 100],
  ["refusals", "0 %", "50 %, in the bake, worse", 100],
  ["refusals", "0 %", "30 %, worse", 100],
  ["latencies", "40 ms", "60 ms", 10],
  ["latencies", "40 ms", "120 ms, worse", 10],
  ["latencies", "40 ms", "200 ms, worse", 100],
] as const)("gives what the documents say: %s, %s, then %s, at %i a minute", async (what, before, now, rate) => {
  const row = tables[what]?.find((one) => headOf(one).join() === [before, now].join());
  if (row === undefined) throw new Error("no such row");
  const column = perMinute.indexOf(rate);
  const rows = await documented();
  const start = rows.findIndex(([head]) => head === `${what} before`);
  const line = rows.slice(start).find((cells) => cells[0] === before && cells[1] === now);
  expect(line?.[2 + column], "npm run bench -- judge prints the tables anew").toBe(cell(row, column));
});
