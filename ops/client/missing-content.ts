/**
 * Content that a commit only refers to: submodules, which `git archive` leaves out, and files that Git LFS keeps
 * elsewhere.
 */
import { execa } from "execa";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { withoutSecrets } from "../host/environment.ts";
import { gitEnvironment, neutralGit } from "./git.ts";

async function git(repository: string, args: readonly string[]): Promise<string> {
  const { stdout } = await execa("git", [...neutralGit, "-C", repository, ...args], {
    env: gitEnvironment(withoutSecrets(process.env)),
    extendEnv: false,
    reject: false,
    stdin: "ignore",
  });
  return stdout;
}

/** The first line of a Git LFS pointer file. */
export const lfsPointer = "version https://git-lfs.github.com/spec/v1";

/** The submodule at or above a path. */
export async function submoduleOf(repository: string, commit: string, path: string): Promise<string | undefined> {
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  for (let length = 1; length <= parts.length; length++) {
    const at = parts.slice(0, length).join("/");
    if ((await git(repository, ["ls-tree", commit, "--", at])).startsWith("160000 ")) return at;
  }
  return undefined;
}

/**
 * The clone's own attributes file, where it has one: `git archive` obeys it, no option prevents that, and another clone
 * of the same commit gives other bytes.
 */
export async function cloneAttributes(repository: string): Promise<string | undefined> {
  const path = await git(repository, ["rev-parse", "--git-path", "info/attributes"]);
  const file = resolve(repository, path);
  const text = path === "" ? "" : await readFile(file, "utf8").catch(() => "");
  return text.split("\n").some((line) => /^\s*[^#\s]/.test(line)) ? file : undefined;
}

/** Missing content among some paths of a commit. */
export async function missingContent(
  repository: string,
  commit: string,
  paths: readonly string[],
): Promise<{ submodules: string[]; pointers: string[] }> {
  const [tree, found] = await Promise.all([
    git(repository, ["ls-tree", "-r", "-z", "--full-tree", commit, "--", ...paths]),
    git(repository, ["grep", "-l", "-z", "--fixed-strings", "-e", lfsPointer, commit, "--", ...paths]),
  ]);
  return {
    submodules: tree
      .split("\0")
      .flatMap((line) => (line.startsWith("160000 ") ? [line.slice(line.indexOf("\t") + 1)] : [])),
    pointers: found.split("\0").flatMap((name) => (name === "" ? [] : [name.slice(name.indexOf(":") + 1)])),
  };
}
