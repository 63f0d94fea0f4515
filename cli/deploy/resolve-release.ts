import { resolve } from "node:path";
import type { ReleaseSetting, StackSettings } from "../../config/schema/stack-settings.ts";
import { gitEnvironment, neutralGit } from "../../ops/client/git.ts";
import { run } from "../../toolchain/run.ts";
import { Failure } from "../failure.ts";
import { invocation } from "../output.ts";
import { asVersion, commitOf, otherCommitOf, typedTag, versionOf, type Git } from "./version-of.ts";

/** A requested release, with notes for the person who requested it. */
export interface ResolvedRelease {
  release: ReleaseSetting;
  warning?: string;
}

const image = /^(?<name>[^\s@]+?)(?::(?<tag>[\w][\w.-]*))?@sha256:(?<digest>[0-9a-f]+)$/;
const versionPattern = /^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$/;

function checkedVersion(version: string): string {
  if (versionPattern.test(version)) return version;
  throw new Failure(
    "config",
    `${JSON.stringify(version)} can't be a version: expected letters, digits and . _ + -, a letter or digit first, at most 100`,
    "--version v1.2.3",
  );
}

/** An image by digest. Its version is the one that its server reports: the gate checks it. */
export function resolveImage(reference: string, version: string | undefined): ResolvedRelease {
  const { tag, digest = "" } = image.exec(reference)?.groups ?? {};
  if (digest.length !== 64)
    throw new Failure(
      "config",
      `${reference} is not an image by digest: expected name@sha256: and 64 hexadecimal digits`,
      "docker image inspect --format '{{join .RepoDigests \" \"}}' NAME shows it",
    );
  const known = version ?? tag;
  if (known === undefined)
    throw new Failure(
      "config",
      `the version of ${reference} is not known; the gate compares it with what the server reports`,
      invocation(`release ${reference} --version v1.2.3`),
    );
  return { release: { version: checkedVersion(known), image: reference } };
}

/** @throws {Failure} where a name means two commits: git would take one of them and only warn. */
async function refuseTwoMeanings(git: Git, wanted: string, commit: string, shown: string): Promise<void> {
  const meanings: { what: string; commit: string; reference: string }[] = [];
  for (const [what, reference] of [
    ["tag", `refs/tags/${wanted}`],
    ["branch", `refs/heads/${wanted}`],
  ] as const) {
    const found = await commitOf(git, reference);
    if (found !== undefined) meanings.push({ what, commit: found, reference });
  }
  if (meanings.length > 0 && /^[0-9a-f]{4,40}$/.test(wanted)) {
    const objects = await git("rev-parse", `--disambiguate=${wanted}`);
    for (const hash of objects.stdout.split("\n").filter((line) => line !== "")) {
      const found = await commitOf(git, hash);
      // Not the annotated tag itself, which is an object with another hash.
      if (found === hash) meanings.push({ what: "commit", commit: hash, reference: hash });
    }
  }
  if (meanings.every((meaning) => meaning.commit === commit)) return;
  const list = meanings.map((meaning) => `the ${meaning.what} ${meaning.commit.slice(0, 12)}`).join(" and ");
  throw new Failure(
    "config",
    `${wanted} is two things in ${shown}: ${list}`,
    meanings.map(({ reference }) => invocation(`release ${reference}`)).join(", or "),
  );
}

/** Resolves a commit, tag or branch of the source repository to a full commit and a version. */
export async function resolveCommit(
  source: StackSettings["source"],
  project: string,
  reference: string | undefined,
  version: string | undefined,
): Promise<ResolvedRelease> {
  const repository = resolve(project, source.repository);
  const git: Git = (...args) =>
    run("git", [...neutralGit, ...args], { cwd: repository, env: gitEnvironment(process.env) });
  const inside = await git("rev-parse", "--git-dir");
  if (!inside.ok)
    throw new Failure(
      "config",
      `togather:source.repository (${source.repository}) is not a git repository: ${inside.output}`,
      "clone it there, or release an image: release name@sha256:…",
    );
  const wanted = reference ?? "HEAD";
  const commit = await commitOf(git, wanted);
  const shown = source.repository === "." ? "this repository" : source.repository;
  if (commit === undefined) {
    const clean = wanted.replace(/-dirty$/, "");
    const fix =
      clean === wanted
        ? `git -C ${source.repository} fetch --tags, if it is a newer one; git -C ${source.repository} log --oneline shows those that are there`
        : `${invocation(`release ${clean}`)}: what was not committed is in no release`;
    throw new Failure("config", `${wanted} is not a commit, tag or branch of ${shown}`, fix);
  }
  await refuseTwoMeanings(git, wanted, commit, shown);
  const tag = reference === undefined ? undefined : await typedTag(git, reference);
  const known = version ?? (tag?.commit === commit ? asVersion(tag.name) : await versionOf(git, commit));
  const release = { version: checkedVersion(known), commit };
  const other = version === undefined ? undefined : await otherCommitOf(git, version, commit);
  if (other !== undefined) {
    throw new Failure(
      "config",
      `--version ${known} is ${other.reference === known ? "" : `${other.reference}, `}commit ${other.commit.slice(0, 7)} of ${shown}, and ${wanted} is ${commit.slice(0, 7)}`,
      `${invocation(`release ${other.reference}`)} releases that one; for ${wanted}, leave out --version or give it a name of its own`,
    );
  }
  if (reference !== undefined) return { release };
  const changed = await git("status", "--porcelain", "--", ...source.paths);
  return changed.stdout === ""
    ? { release }
    : {
        release,
        warning: `${source.paths.join(", ")}: there are changes that are not committed; ${commit.slice(0, 7)} is released without them.`,
      };
}

export function resolveRelease(
  source: StackSettings["source"],
  project: string,
  reference: string | undefined,
  version: string | undefined,
): Promise<ResolvedRelease> {
  return reference?.includes("@sha256:") === true
    ? Promise.resolve(resolveImage(reference, version))
    : resolveCommit(source, project, reference, version);
}
