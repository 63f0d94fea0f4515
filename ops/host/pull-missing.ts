/**
 * Pulls images by digest that a container is about to be created from, and that the engine no longer has, though
 * Pulumi's state says so.
 */
import { lastLines, tryDocker } from "./docker.ts";

/**
 * Pulls the missing images. Reports each in a sentence, also one that can't be pulled: the container created from it
 * then fails with its own error.
 * @param images as `name@sha256:…`.
 */
export async function pullMissing(
  host: string,
  images: readonly string[],
  say: (sentence: string, failed: boolean) => Promise<unknown>,
): Promise<void> {
  const docker = (...args: string[]) => tryDocker(args, { host });
  for (const image of images) {
    if ((await docker("image", "inspect", image)).ok) continue;
    const { ok, stderr } = await docker("pull", "--quiet", image);
    await say(
      ok
        ? `the Docker host had ${image} no more: it is pulled again.`
        : `the Docker host has ${image} no more, and it can't be pulled: ${lastLines(stderr, 2)}`,
      !ok,
    );
  }
}
