import { resolve } from "node:path";
import type { ReleaseSetting, StackSettings } from "../../config/stack-settings.ts";
import { run } from "../../toolchain/run.ts";
import { Failure } from "../failure.ts";
import { invocation } from "../output.ts";

/** A release that somebody asked for, and what they should know about it. */
export interface ResolvedRelease {
  release: ReleaseSetting;
  warning?: string;
}

const image = /^(?<name>[^\s@]+?)(?::(?<tag>[\w][\w.-]*))?@sha256:(?<digest>[0-9a-f]+)$/;
const versionPattern = /^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$/;

function checkedVersion(version: string): string {
  if (versionPattern.test(version)) return version;
  throw new Failure("config", `${JSON.stringify(version)} can't be a version: expected letters, digits and . _ + -, a letter or digit first, at most 100`, "--version v1.2.3");
}

/** An image by digest. Its version is what the server in it reports: the gate asks for it. */
export function resolveImage(reference: string, version: string | undefined): ResolvedRelease {
  const { tag, digest = "" } = image.exec(reference)?.groups ?? {};
  if (digest.length !== 64) throw new Failure("config", `${reference} is no image by digest: expected name@sha256: and 64 hexadecimal digits`, "docker image inspect --format '{{join .RepoDigests \" \"}}' NAME shows it");
  const known = version ?? tag;
  if (known === undefined) throw new Failure("config", `the version of ${reference} is not known; the gate compares it with what the server reports`, invocation(`release ${reference} --version v1.2.3`));
  return { release: { version: checkedVersion(known), image: reference } };
}

/** A commit, tag or branch of the source repository, as a full commit and a version. */
export async function resolveCommit(source: StackSettings["source"], project: string, reference: string | undefined, version: string | undefined): Promise<ResolvedRelease> {
  const repository = resolve(project, source.repository);
  const git = (...args: string[]) => run("git", args, { cwd: repository, env: process.env });
  const inside = await git("rev-parse", "--git-dir");
  if (!inside.ok) throw new Failure("config", `togather:source.repository (${source.repository}) is no git repository: ${inside.output}`, "clone it there, or release an image: release name@sha256:…");
  const wanted = reference ?? "HEAD";
  const found = await git("rev-parse", "--verify", "--quiet", "--end-of-options", `${wanted}^{commit}`);
  if (!found.ok || !/^[0-9a-f]{40}$/.test(found.stdout)) {
    throw new Failure("config", `${wanted} is no commit, tag or branch of ${source.repository === "." ? "this repository" : source.repository}`, `git -C ${source.repository} fetch --tags, if it is a newer one; git -C ${source.repository} log --oneline shows those that are there`);
  }
  const commit = found.stdout;
  let known = version;
  if (known === undefined) {
    const described = await git("describe", "--tags", "--always", commit);
    // A tag may be named like a path; a version is also part of an image's labels and of paths.
    known = described.ok ? described.stdout.replaceAll(/[^\w.+-]/g, "-") : commit.slice(0, 7);
  }
  const release = { version: checkedVersion(known), commit };
  if (reference !== undefined) return { release };
  const changed = await git("status", "--porcelain", "--", ...source.paths);
  return changed.stdout === "" ? { release } : { release, warning: `${source.paths.join(", ")}: there are changes that are not committed; ${commit.slice(0, 7)} is released without them.` };
}

export function resolveRelease(source: StackSettings["source"], project: string, reference: string | undefined, version: string | undefined): Promise<ResolvedRelease> {
  return reference?.includes("@sha256:") === true ? Promise.resolve(resolveImage(reference, version)) : resolveCommit(source, project, reference, version);
}
