/**
 * The stages of the classic builder. BuildKit keeps them in a cache of limited size; the classic builder leaves each one as an
 * image without a name, so that every release would cost the Docker host's disk the whole output of a compiler, for good.
 */
import type { StepLog } from "../contract/context.ts";
import { tryDocker } from "../host/docker.ts";
import { repositoryOf } from "./repository.ts";

/** Ids of the images in which the stages before the last one ended, from the classic builder's output; of BuildKit's, none. */
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

/** Tag under which a stage stays: one for each place in a Dockerfile, so that the next build's takes the place of this one's. */
export function stageTag(imageTag: string, dockerfile: string, position: number): string {
  // Docker allows 128 characters.
  const name = `stage-${position + 1}-${dockerfile.replace(/[^\w.-]+/g, "-")}`.slice(0, 128);
  return `${repositoryOf(imageTag)}-build:${name}`;
}

/**
 * Gives the newest build's stages their tags, and removes the ones that had them. The layers that both share stay, and with them
 * the next build's cache. Never a reason to fail: what can't be removed stays.
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
    // Without --force: what another build or container still stands on stays.
    const removed = await tryDocker(["image", "rm", old], { signal });
    log.debug(
      removed.ok
        ? `removed the build stage that ${tag} was`
        : `the build stage that ${tag} was stays: ${removed.stderr.trim()}`,
    );
  }
}
