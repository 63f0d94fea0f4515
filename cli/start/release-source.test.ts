import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { findReleaseSource } from "./release-source.ts";
import { temporaryDirectory } from "../../test/fake-machine.ts";

function makeTree(): string {
  const project = temporaryDirectory();
  for (const directory of ["server", "migrations"]) mkdirSync(join(project, directory));
  writeFileSync(join(project, "server", "main.go"), "package main");
  writeFileSync(join(project, "migrations", "1.up.sql"), "select 1;");
  writeFileSync(join(project, "README.md"), "x");
  return project;
}

function git(project: string, ...args: string[]): string {
  const identity = [
    "-c",
    "user.name=Test",
    "-c",
    "user.email=test@example.org",
    "-c",
    "commit.gpgsign=false",
    "-c",
    "tag.gpgsign=false",
  ];
  return execFileSync("git", [...identity, ...args], {
    cwd: project,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  }).trim();
}

function makeRepository(): string {
  const project = makeTree();
  git(project, "init", "--quiet");
  git(project, "add", ".");
  git(project, "commit", "--quiet", "--message", "first");
  return project;
}

describe("a git checkout", () => {
  it("is released as its commit, by its tag if it has one", async () => {
    const project = makeRepository();
    const commit = git(project, "rev-parse", "HEAD");
    const { release, warning } = await findReleaseSource(project);
    expect(release).toEqual({ commit, version: commit.slice(0, 7) });
    expect(warning).toBeUndefined();
    git(project, "tag", "release/1.2");
    expect((await findReleaseSource(project)).release.version).toBe("release-1.2");
  });

  it("is released without what is not committed, and says so", async () => {
    const project = makeRepository();
    writeFileSync(join(project, "README.md"), "changed");
    expect((await findReleaseSource(project)).warning).toBeUndefined();
    writeFileSync(join(project, "server", "new.go"), "package main");
    expect((await findReleaseSource(project)).warning).toMatch(/not committed: the commit is deployed/);
  });

  it("is the same release while server and migrations are the same", async () => {
    const project = makeRepository();
    const before = (await findReleaseSource(project)).release;
    writeFileSync(join(project, "README.md"), "changed");
    git(project, "commit", "--quiet", "--all", "--message", "documents");
    expect(await (await findReleaseSource(project)).sameAs(before)).toBe(true);
    writeFileSync(join(project, "migrations", "1.up.sql"), "select 2;");
    git(project, "commit", "--quiet", "--all", "--message", "migration");
    const after = await findReleaseSource(project);
    expect(await after.sameAs(before)).toBe(false);
    expect(await after.sameAs({ version: "v0", commit: "f".repeat(40) })).toBe(false);
  });

  it("without a commit is one clear problem", async () => {
    const project = makeTree();
    git(project, "init", "--quiet");
    await expect(findReleaseSource(project)).rejects.toThrow(/which commit this is/);
  });
});

describe("a tree without git", () => {
  it("is released by its content", async () => {
    const project = makeTree();
    const { release, warning, sameAs } = await findReleaseSource(project);
    expect(release.commit).toMatch(/^tree-[0-9a-f]{64}$/);
    expect(release.version).toBe(`0.0.0-tree.${release.commit.slice(5, 17)}`);
    expect(warning).toMatch(/not a git checkout/);
    expect(await sameAs(release)).toBe(true);

    writeFileSync(join(project, "README.md"), "changed");
    expect((await findReleaseSource(project)).release).toEqual(release);
    writeFileSync(join(project, "server", "main.go"), "package other");
    expect((await findReleaseSource(project)).release.commit).not.toBe(release.commit);
  });
});
