import type { RunResult } from "../../toolchain/run.ts";

/** Runs git in the source repository. */
export type Git = (...args: string[]) => Promise<RunResult>;

/** A tag may look like a path; a version is also part of an image's labels and of paths. */
export const asVersion = (name: string): string => name.replaceAll(/[^\w.+-]/g, "-");

/** The full commit of a revision. Undefined: there is none. */
export async function commitOf(git: Git, revision: string): Promise<string | undefined> {
  const { ok, stdout } = await git("rev-parse", "--verify", "--quiet", "--end-of-options", `${revision}^{commit}`);
  return ok && /^[0-9a-f]{40}$/.test(stdout) ? stdout : undefined;
}

/** The name of a typed tag: `v1.4.0`, `tags/v1.4.0` or `refs/tags/v1.4.0`. Undefined: no such tag. */
export async function typedTag(git: Git, reference: string): Promise<{ name: string; commit: string } | undefined> {
  const name = reference.replace(/^(refs\/)?tags\//, "");
  // v1.4.0~1 is no tag, though git finds it below refs/tags: no tag's name has any of these.
  if (/[~^:?*[\\\s]|@\{|\.\./.test(name)) return undefined;
  const commit = await commitOf(git, `refs/tags/${name}`);
  return commit === undefined ? undefined : { name, commit };
}

/**
 * The version of a commit: its tag, or its distance from one. Of several tags at the commit, the highest version
 * number: `git describe` may take `latest`, which moves. The same for the distance.
 */
export async function versionOf(git: Git, commit: string): Promise<string> {
  // The suffix puts v1.4.0-rc.1 below v1.4.0.
  const tags = await git("-c", "versionsort.suffix=-", "tag", "--sort=-version:refname", "--points-at", commit);
  const numbered = tags.ok ? tags.stdout.split("\n").find((name) => /^v?\d+(\.\d+)+/.test(name)) : undefined;
  if (numbered !== undefined) return asVersion(numbered);
  const distance = await git("describe", "--tags", "--match=v[0-9]*.[0-9]*", "--match=[0-9]*.[0-9]*", commit);
  if (distance.ok) return asVersion(distance.stdout);
  const described = await git("describe", "--tags", "--always", commit);
  return described.ok ? asVersion(described.stdout) : commit.slice(0, 7);
}

/** The other commit that a version itself names: as a tag, in the form of `git describe`, or by its hash. */
export async function otherCommitOf(
  git: Git,
  version: string,
  commit: string,
): Promise<{ commit: string; reference: string } | undefined> {
  const tags = await git("for-each-ref", "--format=%(refname:strip=2)", "refs/tags");
  const names = tags.stdout.split("\n").filter((name) => name !== "" && asVersion(name) === version);
  const found = await Promise.all(
    names.map(async (name) => ({ reference: name, commit: await commitOf(git, `refs/tags/${name}`) })),
  );
  const named = found.filter((tag): tag is { commit: string; reference: string } => tag.commit !== undefined);
  if (named.length > 0) return named.some((tag) => tag.commit === commit) ? undefined : named[0];
  // v1.4.0-3-g1a2b3c4, or 1a2b3c4 alone
  const hash = /^(?:.+-\d+-g)?(?<hash>[0-9a-f]{7,40})$/.exec(version)?.groups?.["hash"];
  if (hash === undefined || commit.startsWith(hash)) return undefined;
  const other = await commitOf(git, hash);
  return other === undefined || other === commit ? undefined : { commit: other, reference: hash };
}
