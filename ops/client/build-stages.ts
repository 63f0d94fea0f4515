/**
 * Stages of the classic builder. BuildKit keeps them in a cache of limited size. The classic builder leaves each as an
 * image without a name: every release would use up the Docker host's disk with the whole output of a compiler, for
 * good.
 */
import type { StepLog } from "../contract/context.ts";
import { tryDocker } from "../host/docker.ts";
import { repositoryOf } from "./repository.ts";

/**
 * Ids of the images of the stages before the last one, from the classic builder's output. BuildKit's output has none.
 */
export function stageImages(output: string): string[] {
  const stages: string[] = [];
  let image: string | undefined;
  for (const line of output.split("\n")) {
    if (/^Step \d+\/\d+ : FROM /i.test(line)) {
      if (image !== undefined) stages.push(image);
      image = undefined;
    } else image = /^ ---> ([0-9a-f]{12,64})$/.exec(line)?.[1] ?? image;
  }
  return stages;
}

/** Tag that keeps a stage: one for each place in a Dockerfile, so that the next build's stage replaces this one's. */
export function stageTag(imageTag: string, dockerfile: string, position: number): string {
  // Docker allows 128 characters.
  const name = `stage-${position + 1}-${dockerfile.replace(/[^\w.-]+/g, "-")}`.slice(0, 128);
  return `${repositoryOf(imageTag)}-build:${name}`;
}

/**
 * Tags the newest build's stages, and removes the images that had the tags before. Layers that both share stay, and
 * with them the next build's cache. Never fails: an image that can't be removed stays.
 */
export async function keepNewestStages(
  imageTag: string,
  dockerfile: string,
  output: string,
  log: StepLog,
  signal: AbortSignal,
): Promise<void> {
  for (const [position, id] of stageImages(output).entries()) {
    const tag = stageTag(imageTag, dockerfile, position);
    const before = await tryDocker(["image", "inspect", "--format", "{{.Id}}", tag], { signal });
    const tagged = await tryDocker(["tag", id, tag], { signal });
    if (!tagged.ok || !before.ok) continue;
    const old = before.stdout.trim();
    if (old.replace(/^sha256:/, "").startsWith(id)) continue;
    // Without --force: an image that another build or container uses stays.
    const removed = await tryDocker(["image", "rm", old], { signal });
    log.debug(
      removed.ok
        ? `removed the build stage that ${tag} was`
        : `the build stage that ${tag} was stays: ${removed.stderr.trim()}`,
    );
  }
}
