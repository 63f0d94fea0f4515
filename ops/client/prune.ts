/**
 * `prune`, on the operator's machine: removes images of earlier releases from the Docker host. It never fails a
 * deployment, which is over by then: an image that can't be removed stays, and the log says why.
 */
import { imageRepository } from "../contract/names.ts";
import * as z from "zod";
import type { StepContext } from "../contract/context.ts";
import type { StepRequest, StepResult } from "../contract/steps.ts";
import { messageOf } from "../contract/errors.ts";
import { docker, lastLines, tryDocker } from "../host/docker.ts";
import { repositoryOf } from "./repository.ts";

/** Repositories of the images that `build` makes. */
const repositories = (["server", "ops", "postgres", "nginx", "dev"] as const).map(imageRepository);

/**
 * Tags that keep the images of a deployment's slots: a slot's container may be gone, and comes back with a rollback.
 */
const keptRepository = imageRepository("kept");

/** The tags that keep a deployment's images. */
export const keptTags = (name: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${keptRepository}:${name}-${index + 1}`);

/** A tag of one of our images. */
export interface Tagged {
  tag: string;
  /** Time at which the engine got it: an image that is released again counts as new. */
  taggedAt: number;
}

/**
 * Tags that may be removed: in each repository, all but the newest ones. Tags to keep are not counted.
 * @param keep tags of both slots' releases and of the images in use.
 */
export function expiredTags(tags: readonly Tagged[], keep: readonly string[], retention: number): string[] {
  const others = tags.filter(({ tag }) => !keep.includes(tag)).sort((a, b) => b.taggedAt - a.taggedAt);
  const seen = new Map<string, number>();
  return others.flatMap(({ tag }) => {
    const before = seen.get(repositoryOf(tag)) ?? 0;
    seen.set(repositoryOf(tag), before + 1);
    return before < retention ? [] : [tag];
  });
}

const inspectedSchema = z.array(
  z.looseObject({
    RepoTags: z.array(z.string()).nullish(),
    RepoDigests: z.array(z.string()).nullish(),
    // Images of reproducible builds may have none.
    Created: z.string().nullish(),
    Metadata: z.looseObject({ LastTagTime: z.string().nullish() }).nullish(),
  }),
);

/** Tags the images of both slots, so that no other deployment removes them. */
async function holdImages(name: string, keep: readonly string[], signal: AbortSignal): Promise<void> {
  const images = keep.filter((tag) => repositoryOf(tag) === imageRepository("server"));
  const tags = keptTags(name, images.length);
  for (const [index, image] of images.entries()) await tryDocker(["tag", image, tags[index] ?? ""], { signal });
  const listed = await docker(
    ["image", "ls", `--filter=reference=${keptRepository}:${name}-*`, "--format={{.Repository}}:{{.Tag}}"],
    { signal },
  );
  for (const tag of listed.split("\n"))
    if (/-\d+$/.test(tag) && tag.replace(/-\d+$/, "") === `${keptRepository}:${name}` && !tags.includes(tag))
      await tryDocker(["image", "rm", "--no-prune", tag], { signal });
}

/**
 * Tags by which a deployment finds the images that it has pulled: their own names are not this project's, and others
 * may use them.
 */
const pulledRepository = imageRepository("pulled");

/** The tag of an image by digest that a deployment has pulled. */
export function pulledTag(name: string, image: string): string {
  return `${pulledRepository}:${name}-${image.slice(image.lastIndexOf(":") + 1).slice(0, 12)}`;
}

/** A pulled image that no slot uses any more. */
interface Pulled extends Tagged {
  /** Its other names: others' tags, and the digests under which it was pulled. */
  otherTags: string[];
  digests: string[];
}

/**
 * Tags the images that the slots were pulled as, and finds this deployment's pulled images of earlier releases, except
 * the newest ones.
 */
async function expiredPulled(
  { name, pulled = [], retention }: StepRequest<"prune">,
  signal: AbortSignal,
): Promise<Pulled[]> {
  const keep = pulled.map((image) => pulledTag(name, image));
  for (const [index, image] of pulled.entries()) await tryDocker(["tag", image, keep[index] ?? ""], { signal });
  const listed = await docker(
    ["image", "ls", `--filter=reference=${pulledRepository}:${name}-*`, "--format={{.Repository}}:{{.Tag}}"],
    { signal },
  );
  // Another deployment's name may begin with this one's.
  const own = listed.split("\n").filter((tag) => tag.replace(/-[0-9a-f]{12}$/, "") === `${pulledRepository}:${name}`);
  if (own.length === 0) return [];
  const images = inspectedSchema.parse(JSON.parse(await docker(["image", "inspect", ...own], { signal })));
  const known = images.map((image, index): Pulled => {
    const tag = own[index] ?? "";
    const otherTags = (image.RepoTags ?? []).filter((one) => one !== tag);
    return { tag, taggedAt: taggedAtOf(image), otherTags, digests: image.RepoDigests ?? [] };
  });
  const expired = expiredTags(known, keep, retention);
  return known.filter(({ tag }) => expired.includes(tag));
}

/**
 * Removes them, except images that another tag or any container uses.
 * @returns the removed names.
 */
async function removePulled(expired: readonly Pulled[], signal: AbortSignal): Promise<string[]> {
  const removed: string[] = [];
  for (const { tag, otherTags, digests } of expired) {
    if (otherTags.length > 0) {
      await tryDocker(["image", "rm", "--no-prune", tag], { signal });
      continue;
    }
    // Docker would remove the name although a container needs the image, which has another name.
    const users = await tryDocker(["ps", "--all", "--quiet", `--filter=ancestor=${tag}`], { signal });
    if (!users.ok || users.stdout.trim() !== "") continue;
    // The tag last: while the image stays, this deployment can find it.
    for (const one of [...digests, tag]) {
      const { ok } = await tryDocker(["image", "rm", one], { signal });
      if (!ok) break;
      if (one !== tag || digests.length === 0) removed.push(one);
    }
  }
  return removed;
}

/** The time at which the engine got a tag; for an image that was loaded with its tag, it has the year 1. */
const taggedAtOf = ({ Created, Metadata }: z.infer<typeof inspectedSchema>[number]): number =>
  Math.max(Date.parse(Metadata?.LastTagTime ?? ""), 0) || Date.parse(Created ?? "") || 0;

async function ourTags(signal: AbortSignal): Promise<Tagged[]> {
  const listed = await docker(
    ["image", "ls", "--quiet", "--no-trunc", ...repositories.map((name) => `--filter=reference=${name}`)],
    { signal },
  );
  const ids = [...new Set(listed.split("\n").filter((id) => id !== ""))];
  if (ids.length === 0) return [];
  return inspectedSchema.parse(JSON.parse(await docker(["image", "inspect", ...ids], { signal }))).flatMap((image) => {
    const { RepoTags } = image;
    // A tag of some deployment, this one or another.
    if (RepoTags?.some((tag) => repositoryOf(tag) === keptRepository) === true) return [];
    const taggedAt = taggedAtOf(image);
    return (RepoTags ?? [])
      .filter((tag) => repositories.some((name) => tag.startsWith(`${name}:`)))
      .map((tag) => ({ tag, taggedAt }));
  });
}

export async function run(request: StepRequest<"prune">, { log, signal }: StepContext): Promise<StepResult<"prune">> {
  const removed: string[] = [];
  try {
    await holdImages(request.name, request.keep, signal);
    for (const tag of expiredTags(await ourTags(signal), request.keep, request.retention)) {
      // Without --force: an image that any container uses, also a stopped one or another deployment's, stays.
      const { ok, stderr } = await tryDocker(["image", "rm", tag], { signal });
      if (ok) removed.push(tag);
      else if (!/conflict|in use|being used|no such image/i.test(stderr))
        log.warn(`image ${tag} can't be removed: ${lastLines(stderr, 1)}`);
    }
    removed.push(...(await removePulled(await expiredPulled(request, signal), signal)));
  } catch (error) {
    signal.throwIfAborted();
    log.warn(`images of earlier releases stay: ${messageOf(error)}`);
  }
  if (removed.length > 0)
    log.info(
      `removed ${removed.length === 1 ? "the image" : "the images"} ${removed.join(", ")}; the ${request.retention} newest of each kind stay, beside those in use`,
    );
  return { removed };
}
