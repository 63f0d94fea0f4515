import { mkdtempSync, rmSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { appliedFiles, noteApplied } from "./applied-migrations.ts";
import { pendingOf, refuseUnreachable } from "../../contract/pending-migrations.ts";
import type { Connection } from "../../contract/connection.ts";
import { containerPaths } from "../../contract/context.ts";
import { createLog } from "../../contract/log.ts";
import { upFiles } from "../../contract/migrations.ts";
import { createRedactor } from "../../contract/redact.ts";

const state = mkdtempSync(join(tmpdir(), "applied-test-"));
afterAll(() => {
  rmSync(state, { recursive: true, force: true });
});
const context = {
  paths: { ...containerPaths, state },
  log: createLog({ redactor: createRedactor({}), show: () => undefined, verbose: false }),
};
const connection = (database: string): Connection => ({ host: "db", port: 5432, database }) as Connection;
const files = (...numbers: number[]) => upFiles(numbers.map((number) => `${String(number).padStart(6, "0")}_x.up.sql`));
const names = (...numbers: number[]): Set<string> => new Set(files(...numbers).map(({ file }) => file));
const numbersOf = (list: readonly { version: number }[]): number[] => list.map(({ version }) => version);
const nobody = (): Promise<unknown> => Promise.reject(new Error("nobody was to be asked"));

describe("what is pending", () => {
  it.each<[string, number[], number | null, number[] | undefined, { todo: number[]; late: number[]; lost: boolean }]>([
    ["nothing was ever applied", [1, 2], null, undefined, { todo: [1, 2], late: [], lost: false }],
    ["a new one", [1, 2, 3], 2, [1, 2], { todo: [3], late: [], lost: false }],
    ["an older release", [1, 2], 7, [1, 2, 6, 7], { todo: [], late: [], lost: false }],
    [
      "a hotfix below what a release that was rolled back has brought",
      [1, 2, 6],
      7,
      [1, 2, 7],
      { todo: [], late: [6], lost: false },
    ],
    ["one that was merged late, beside a new one", [1, 2, 3, 4], 3, [1, 3], { todo: [4], late: [2], lost: false }],
    ["nobody knows", [1, 2, 6], 7, undefined, { todo: [], late: [], lost: false }],
    ["the version's own file is gone", [1, 9], 7, [1, 7], { todo: [9], late: [], lost: true }],
    ["version 0", [0, 1], 0, [0], { todo: [1], late: [], lost: false }],
  ])("%s", (_name, up, version, known, { todo, late, lost }) => {
    const pending = pendingOf(files(...up), version, known && names(...known));
    expect([numbersOf(pending.todo), numbersOf(pending.late), pending.lost]).toEqual([todo, late, lost]);
  });

  it("takes another file of the same number for one that was never applied", () => {
    const up = upFiles(["1_a.up.sql", "2_hotfix.up.sql"]);
    const known = new Set(["1_a.up.sql", "2_feature.up.sql"]);
    const pending = pendingOf(up, 2, known);
    expect(() => {
      refuseUnreachable(pending, { version: 2, up, known, release: "v1.1" });
    }).toThrow(
      "2_hotfix.up.sql was never applied (what was applied under its number is 2_feature.up.sql), and has a number that the schema is past: it is at version 2, and golang-migrate would pass over it for good. Nothing was changed",
    );
  });

  it("says which number a late file may have, and what is gone", () => {
    const refusal = (up: number[], version: number, known: number[]): { message: string; hint: string | undefined } => {
      try {
        refuseUnreachable(pendingOf(files(...up), version, names(...known)), {
          version,
          up: files(...up),
          known: names(...known),
          release: "v3",
        });
      } catch (error) {
        return error as { message: string; hint: string | undefined };
      }
      throw new Error("not refused");
    };
    expect(refusal([1, 6], 7, [1, 7]).hint).toContain(
      "give it a number above 7 (git mv 000006_x.up.sql 000008_x.up.sql, and its .down.sql)",
    );
    expect(refusal([1, 9], 7, [1, 7]).message).toContain(
      "the schema is at version 7, and v3 has no migration of that number (below it: 000001_x.up.sql; above it: 000009_x.up.sql)",
    );
  });
});

describe("the record", () => {
  const note = (
    database: string,
    before: number | null,
    now: number,
    known: Set<string> | undefined,
    up: number[],
  ): Promise<void> =>
    noteApplied({ connection: connection(database), version: now }, { before, known, up: files(...up) }, context);
  const applied = async (database: string, version: number, up: number[] = []): Promise<string[] | undefined> => {
    const found = await appliedFiles({ connection: connection(database), version }, files(...up), context, nobody);
    return found && [...found];
  };

  it("asks for the slots' files where nothing is written down, and keeps them", async () => {
    const asked = await appliedFiles({ connection: connection("a"), version: 7 }, [], context, () =>
      Promise.resolve({ files: [...names(1, 2, 7)] }),
    );
    expect(asked).toEqual(names(1, 2, 7));
    await note("a", 7, 8, asked, [1, 2, 8]);
    expect(await applied("a", 8)).toEqual([...names(1, 2, 7, 8)]);
  });

  it("takes the release's own word where nobody knows", async () => {
    for (const answer of [{ files: null }, { problem: "no Docker" }])
      expect(
        await appliedFiles({ connection: connection("b"), version: 2 }, [], context, () => Promise.resolve(answer)),
      ).toBeUndefined();
    await note("b", 2, 3, undefined, [1, 2, 3]);
    expect(await applied("b", 3)).toEqual([...names(1, 2, 3)]);
  });

  it("forgets what a restore has undone", async () => {
    await note("c", null, 7, new Set(), [1, 6, 7]);
    expect(await applied("c", 5)).toEqual([...names(1)]);
    // From version 1, another branch's 7 was applied next: 6 is missing.
    await note("c", 1, 7, names(1), [1, 7]);
    expect(await applied("c", 7)).toEqual([...names(1, 7)]);
  });

  it("takes it that a person has applied what lies above it", async () => {
    await note("d", null, 2, new Set(), [1, 2]);
    expect(await applied("d", 4, [1, 2, 3, 4, 5])).toEqual([...names(1, 2, 3, 4, 5)]);
    // Lower versions were never applied.
    expect(await applied("d", 4, [0, 1, 2, 3, 4])).toEqual([...names(1, 2, 3, 4)]);
    await note("e", null, 0, new Set(), []);
    expect(await applied("e", 2, [1, 2])).toEqual([...names(1, 2)]);
  });

  it("that can't be read is written anew", async () => {
    await writeFile(join(state, "applied-migrations.json"), "{");
    expect(
      await appliedFiles({ connection: connection("c"), version: 7 }, [], context, () =>
        Promise.resolve({ files: null }),
      ),
    ).toBeUndefined();
    await note("c", null, 1, new Set(), [1]);
    expect(JSON.parse(await readFile(join(state, "applied-migrations.json"), "utf8"))).toEqual({
      "db:5432/c": [{ version: 1, file: "000001_x.up.sql" }],
    });
  });
});
