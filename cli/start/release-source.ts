import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { lstat, readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import { gitEnvironment, neutralGit } from "../../ops/client/git.ts";
import { isSameSource, printSource, sourceOf, type Source } from "../../ops/contract/release.ts";
import type { Release } from "../../ops/contract/steps.ts";
import { Problem } from "../../toolchain/problem.ts";
import { run } from "../../toolchain/run.ts";
import { versionOf } from "../deploy/version-of.ts";

/** The sources of a release of the bundled server, relative to the project. */
const SOURCES = ["server", "migrations"];

/** The release that can be deployed from here now. */
export interface ReleaseSource {
  release: Release;
  /** A warning about it for the user. */
  warning?: string;
  /** Whether an earlier release has the same sources. */
  sameAs: (other: Release) => Promise<boolean>;
}

async function fromGit(project: string): Promise<ReleaseSource> {
  const git = (...args: string[]) =>
    run("git", [...neutralGit, ...args], { cwd: project, env: gitEnvironment(process.env) });
  const ask = async (...args: string[]) => {
    const { ok, stdout, output } = await git(...args);
    if (!ok) throw new Problem(`Git can't say which commit this is:\n  ${output}`);
    return stdout;
  };
  const commit = await ask("rev-parse", "HEAD");
  const version = await versionOf(git, commit);
  const uncommitted = await ask("status", "--porcelain", "--", ...SOURCES);
  return {
    release: { version, commit },
    warning:
      uncommitted === ""
        ? undefined
        : `There are changes in ${SOURCES.join("/ or ")}/ that are not committed: the commit is deployed, without them.`,
    // A commit that git no longer has counts as different.
    sameAs: async (other) => (await git("diff", "--quiet", other.commit, "HEAD", "--", ...SOURCES)).ok,
  };
}

/** Content hash of all files below the sources, by path. */
async function hashTree(project: string): Promise<string> {
  const hash = createHash("sha256");
  const add = async (path: string): Promise<void> => {
    const file = join(project, path);
    const status = await lstat(file);
    if (status.isDirectory()) {
      for (const name of (await readdir(file)).sort()) await add(`${path}/${name}`);
      return;
    }
    const content = status.isSymbolicLink() ? await readlink(file) : await readFile(file);
    // The length separates path and content unambiguously.
    hash.update(`${path}\0${content.length}\0`).update(content);
  };
  for (const path of SOURCES) await add(path);
  return hash.digest("hex");
}

async function fromTree(project: string): Promise<ReleaseSource> {
  const digest = await hashTree(project);
  const source: Source = { kind: "tree", id: digest };
  return {
    release: { version: `0.0.0-tree.${digest.slice(0, 12)}`, commit: printSource(source) },
    warning: "This is not a git checkout: the version is a hash of the files. Production would refuse it.",
    sameAs: (other) => Promise.resolve(isSameSource(sourceOf(other), source)),
  };
}

/** The checked-out commit, or the files themselves where there is no git. */
export function findReleaseSource(project: string): Promise<ReleaseSource> {
  return existsSync(join(project, ".git")) ? fromGit(project) : fromTree(project);
}
