/**
 * `prune`, on the operator's machine: removes images of earlier releases from the Docker host. It never fails a deployment,
 * which is over by then: what can't be removed stays, and the log says why.
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

/** Tags by which deployments hold on to the images of their slots: the container of one may be gone, and comes back with a rollback. */
const keptRepository = imageRepository("kept");

/** The tags that hold on to a deployment's images, as many as it has. */
export const keptTags = (name: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${keptRepository}:${name}-${index + 1}`);

/** A tag of one of our images. */
export interface Tagged {
  tag: string;
  /** When the engine got it: an image that is released again is a new one. */
  taggedAt: number;
}

/**
 * Tags that may go: of each repository all but the newest so many, those to keep not counted.
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
    Created: z.string(),
    Metadata: z.looseObject({ LastTagTime: z.string().nullish() }).nullish(),
  }),
);

/** Has the engine hold on to what both slots of a deployment are made from, whatever another one removes. */
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

async function ourTags(signal: AbortSignal): Promise<Tagged[]> {
  const listed = await docker(
    ["image", "ls", "--quiet", "--no-trunc", ...repositories.map((name) => `--filter=reference=${name}`)],
    { signal },
  );
  const ids = [...new Set(listed.split("\n").filter((id) => id !== ""))];
  if (ids.length === 0) return [];
  return inspectedSchema
    .parse(JSON.parse(await docker(["image", "inspect", ...ids], { signal })))
    .flatMap(({ RepoTags, Created, Metadata }) => {
      // Some deployment's, this one's or another's.
      if (RepoTags?.some((tag) => repositoryOf(tag) === keptRepository) === true) return [];
      // The engine writes the year 1 for an image that came with its tag.
      const taggedAt = Math.max(Date.parse(Metadata?.LastTagTime ?? ""), 0) || Date.parse(Created);
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
