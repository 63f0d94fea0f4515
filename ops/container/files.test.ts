import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
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
