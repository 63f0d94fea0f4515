/** Images by digest that a container is about to be made from, and that the engine has no more: Pulumi's state says that it has. */
import { lastLines, tryDocker } from "./docker.ts";

/**
 * Pulls those that are not there. Tells of each in a sentence, also of one that can't be had: what is made from it says so.
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
