import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { stackSettingsSchema } from "../../config/schema/stack-settings.ts";
import { resolveCommit } from "./resolve-release.ts";

let repository: string;
const source = stackSettingsSchema.parse({ environment: "staging" }).source;
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
const git = (...args: string[]): string =>
  execFileSync("git", [...identity, ...args], {
    cwd: repository,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  }).trim();
const commit = (message: string): string => {
  writeFileSync(join(repository, "file"), message);
  git("add", ".");
  git("commit", "--quiet", "--message", message);
  return git("rev-parse", "HEAD");
};
const resolve = async (reference?: string, version?: string) =>
  (await resolveCommit(source, repository, reference, version)).release;

beforeEach(() => {
  repository = mkdtempSync(join(tmpdir(), "togather-refs-"));
  git("init", "--quiet", "--initial-branch=main");
});
afterEach(() => {
  rmSync(repository, { recursive: true });
});

describe("the version of a release", () => {
  it.each(["v1.4.0", "tags/v1.4.0", "refs/tags/v1.4.0"])(
    "is the tag that was typed, as %s, whatever other tags the commit has",
    async (reference) => {
      const first = commit("first");
      git("tag", "v1.4.0");
      // git describe prefers annotated tags.
      git("tag", "--annotate", "--message", "x", "latest");
      git("tag", "--annotate", "--message", "x", "v1.4.1");
      expect(await resolve(reference)).toEqual({ version: "v1.4.0", commit: first });
      expect(await resolve("latest")).toEqual({ version: "latest", commit: first });
    },
  );

  it("is an annotated tag's name, and that of a tag with a slash", async () => {
    const first = commit("first");
    git("tag", "--annotate", "--message", "x", "release/v1.4.0");
    git("tag", "latest");
    expect(await resolve("release/v1.4.0")).toEqual({ version: "release-v1.4.0", commit: first });
  });

  it("is the highest version number of several tags where no tag was typed", async () => {
    const first = commit("first");
    for (const name of ["v1.9.0", "v1.10.0-rc.1", "v1.10.0"]) git("tag", name);
    git("tag", "--annotate", "--message", "x", "latest");
    for (const reference of [undefined, "HEAD", "main", first, first.slice(0, 9)])
      expect((await resolve(reference)).version).toBe("v1.10.0");
  });

  it("is no tag's where a tag is only where the counting begins", async () => {
    const first = commit("first");
    const second = commit("second");
    git("tag", "v1.4.0");
    git("tag", "--annotate", "--message", "x", "v1.3.0", first);
    for (const [reference, version, of] of [
      ["v1.4.0~1", "v1.3.0", first],
      ["v1.4.0^", "v1.3.0", first],
      ["tags/v1.4.0~1", "v1.3.0", first],
      ["v1.4.0^{}", "v1.4.0", second],
      ["v1.4.0^0", "v1.4.0", second],
    ] as const)
      expect([reference, await resolve(reference)]).toEqual([reference, { version, commit: of }]);
  });

  it("counts from a version number, not from a tag that moves", async () => {
    commit("first");
    git("tag", "v1.4.0");
    commit("second");
    git("tag", "--annotate", "--message", "x", "latest");
    expect((await resolve(undefined)).version).toMatch(/^v1\.4\.0-1-g[0-9a-f]{7}$/);
    expect((await resolve("latest")).version).toBe("latest");
  });

  it("can't be the name of another commit", async () => {
    const first = commit("first");
    git("tag", "--annotate", "--message", "x", "v0.1.0");
    git("tag", "nightly/v1");
    const second = commit("second");
    await expect(resolve(undefined, "v0.1.0")).rejects.toMatchObject({
      ending: "config",
      fix: expect.stringContaining("release v0.1.0") as string,
    });
    await expect(resolve("main", "nightly-v1")).rejects.toMatchObject({
      fix: expect.stringContaining("release nightly/v1") as string,
    });
    for (const version of [`v0.1.0-3-g${first.slice(0, 7)}`, first.slice(0, 7), first])
      await expect(resolve("HEAD", version)).rejects.toThrow(`commit ${first.slice(0, 7)}`);
    expect(await resolve("v0.1.0", "v0.1.0")).toEqual({ version: "v0.1.0", commit: first });
    expect(await resolve("HEAD", `v0.1.0-1-g${second.slice(0, 7)}`)).toMatchObject({ commit: second });
    expect(await resolve("HEAD", "v0.2.0")).toEqual({ version: "v0.2.0", commit: second });
  });
});

describe("a name of two things", () => {
  it("is refused when it is a tag and a branch at different commits", async () => {
    const first = commit("first");
    git("tag", "v1.4.0");
    const second = commit("second");
    git("branch", "v1.4.0");
    await expect(resolve("v1.4.0")).rejects.toMatchObject({
      ending: "config",
      fix: expect.stringMatching(/release refs\/tags\/v1\.4\.0, .*release refs\/heads\/v1\.4\.0/) as string,
    });
    expect(await resolve("refs/tags/v1.4.0")).toEqual({ version: "v1.4.0", commit: first });
    expect(await resolve("refs/heads/v1.4.0")).toMatchObject({ commit: second });
    git("branch", "--force", "v1.4.0", first);
    expect(await resolve("v1.4.0")).toEqual({ version: "v1.4.0", commit: first });
  });

  it("is refused when it is a tag and the beginning of another commit", async () => {
    const first = commit("first");
    const second = commit("second");
    git("tag", first.slice(0, 7), second);
    await expect(resolve(first.slice(0, 7))).rejects.toMatchObject({
      fix: expect.stringContaining(`release ${first}`) as string,
    });
    expect(await resolve(first)).toMatchObject({ commit: first });
  });

  it("says that what was not committed is in no release", async () => {
    commit("first");
    git("tag", "v1.4.0");
    await expect(resolve("v1.4.0-dirty")).rejects.toMatchObject({
      fix: expect.stringContaining("release v1.4.0:") as string,
    });
  });
});
