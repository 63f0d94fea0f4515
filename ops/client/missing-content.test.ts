import { mkdtempSync, rmSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, expect, it } from "vitest";
import { migrationPayload } from "./migrate.ts";
import { cloneAttributes, lfsPointer, missingContent, submoduleOf } from "./missing-content.ts";

const repository = mkdtempSync(join(tmpdir(), "missing-content-test-"));
const { signal } = new AbortController();
let commit = "";

beforeAll(async () => {
  const git = (...args: string[]): Promise<{ stdout: string }> =>
    execa("git", ["-C", repository, "-c", "user.name=t", "-c", "user.email=t@example.org", ...args]);
  await git("init", "--quiet");
  await mkdir(join(repository, "server/pictures"), { recursive: true });
  await mkdir(join(repository, "lfs"));
  await writeFile(join(repository, "server/main.go"), "package main\n");
  for (const path of ["server/pictures/a b.png", "lfs/1_a.up.sql"])
    await writeFile(join(repository, path), `${lfsPointer}\noid sha256:${"0".repeat(64)}\nsize 12\n`);
  await git("add", ".");
  for (const path of ["server/theme", "db"])
    await git("update-index", "--add", "--cacheinfo", `160000,${"1".repeat(40)},${path}`);
  await git("commit", "--quiet", "--message=one");
  commit = (await git("rev-parse", "HEAD")).stdout;
});
afterAll(() => {
  rmSync(repository, { recursive: true, force: true });
});

it("finds what is in a commit by name only, in the paths of a build", async () => {
  expect(await missingContent(repository, commit, ["server"])).toEqual({
    submodules: ["server/theme"],
    pointers: ["server/pictures/a b.png"],
  });
  expect(await missingContent(repository, commit, ["server/main.go"])).toEqual({ submodules: [], pointers: [] });
});

it("knows the submodule that a path lies in", async () => {
  expect(await submoduleOf(repository, commit, "./db/migrations/")).toBe("db");
  expect(await submoduleOf(repository, commit, "server/theme")).toBe("server/theme");
  expect(await submoduleOf(repository, commit, "server/pictures")).toBeUndefined();
});

it("knows attributes that only this clone has", async () => {
  const file = join(repository, ".git/info/attributes");
  const tried: Record<string, string | undefined> = {};
  for (const text of ["# none\n\n", "*.md export-ignore\n", ""]) {
    await mkdir(join(repository, ".git/info"), { recursive: true });
    await writeFile(file, text);
    tried[text] = await cloneAttributes(join(repository, "server"));
  }
  expect(tried).toEqual({ "# none\n\n": undefined, "*.md export-ignore\n": file, "": undefined });
});

it("takes no migrations out of a submodule, nor pointers for migrations", async () => {
  const payload = (path: string): Promise<Buffer> =>
    migrationPayload({ source: { kind: "commit", repository, commit, path }, lint: "off" }, signal);
  await expect(payload("db/migrations")).rejects.toThrow(
    `db/migrations is in the submodule db of commit ${commit}: its files are another repository's, and not in the commit`,
  );
  await expect(payload("db")).rejects.toThrow("db is the submodule db");
  await expect(payload("lfs")).rejects.toThrow(
    "1_a.up.sql in lfs: Git LFS keeps this file elsewhere, and only a pointer is in the repository",
  );
});
