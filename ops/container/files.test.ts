import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { appendLine, writeFileAtomically } from "./files.ts";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "togather-files-"));
});
afterAll(() => rm(directory, { recursive: true }));

describe("writeFileAtomically", () => {
  it("shows a reader the old content or the new, never a part, and leaves nothing beside it", async () => {
    const file = join(directory, "current.json");
    const content = (n: number): string => JSON.stringify({ n, padding: "x".repeat(20_000) });
    await writeFileAtomically(file, content(-1));
    let stop = false;
    const reader = (async (): Promise<number> => {
      let reads = 0;
      while (!stop) {
        JSON.parse(await readFile(file, "utf8"));
        reads += 1;
      }
      return reads;
    })();
    await Promise.all(Array.from({ length: 40 }, (_, n) => writeFileAtomically(file, content(n))));
    stop = true;
    expect(await reader).toBeGreaterThan(0);
    expect(await readdir(directory)).toEqual(["current.json"]);
  });

  it("removes what one that was killed has left, and nothing that may still be written", async () => {
    const left = (name: string): string => join(directory, `.swept.json.${name}.tmp`);
    for (const name of ["old", "young"]) await writeFile(left(name), "half");
    await writeFile(join(directory, ".other.json.old.tmp"), "half");
    const hourAgo = new Date(Date.now() - 3_600_000);
    for (const path of [left("old"), join(directory, ".other.json.old.tmp")]) await utimes(path, hourAgo, hourAgo);
    await writeFileAtomically(join(directory, "swept.json"), "whole");
    const names = (await readdir(directory)).filter((name) => name.endsWith(".tmp"));
    expect(names.sort()).toEqual([".other.json.old.tmp", ".swept.json.young.tmp"]);
    for (const name of names) await rm(join(directory, name));
  });

  it("keeps the old content when it fails", async () => {
    const file = join(directory, "kept");
    await writeFile(file, "old");
    await expect(writeFileAtomically(file, 5 as unknown as string)).rejects.toThrow();
    expect(await readFile(file, "utf8")).toBe("old");
    expect((await readdir(directory)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  it("sets the mode whatever the umask", async () => {
    const old = process.umask(0o077);
    try {
      await writeFileAtomically(join(directory, "open"), "x");
      await writeFileAtomically(join(directory, "secret"), "x", 0o600);
    } finally {
      process.umask(old);
    }
    expect((await stat(join(directory, "open"))).mode & 0o777).toBe(0o644);
    expect((await stat(join(directory, "secret"))).mode & 0o777).toBe(0o600);
  });
});

describe("appendLine", () => {
  it("closes a line that was cut short", async () => {
    const file = join(directory, "history.jsonl");
    await appendLine(file, "one");
    await writeFile(file, "one\ntw");
    await appendLine(file, "three");
    expect(await readFile(file, "utf8")).toBe("one\ntw\nthree\n");
  });
});
