/** Compares a container of the stack with its wanted settings and image: whether Pulumi would replace it. */
import { containerName } from "../contract/names.ts";
import { bundledImageTag, type BundledImage } from "../image.ts";
import { docker } from "./docker.ts";

/** Longest wait for the Docker host, in ms. */
const answerMs = 30_000;

/** A container of a deployment, and the value to read from it. */
interface Asked {
  /** The deployment's name. */
  name: string;
  /** Docker host; the local engine when empty. */
  host: string;
  part: "database" | "router";
  image: BundledImage;
  /** Docker's template of the requested value, as JSON. */
  value: string;
}

/**
 * The container's value and image. Undefined: there is no container yet.
 * @throws when Docker's answer is no JSON.
 */
export async function containerInPlace({
  name,
  host,
  part,
  image,
  value,
}: Asked): Promise<{ imageStays: boolean; value: unknown } | undefined> {
  const ask = async (...args: string[]): Promise<string> => (await docker(args, { host, timeoutMs: answerMs })).trim();
  const [container, wanted] = await Promise.all([
    ask("container", "inspect", "--format", `{"image":"{{.Image}}","value":${value}}`, containerName(name, part)).catch(
      () => undefined,
    ),
    // A missing image has yet to be built: it will be a new one.
    ask("image", "inspect", "--format", "{{.Id}}", bundledImageTag(image)).catch(() => "not built yet"),
  ]);
  if (container === undefined) return undefined;
  const is = JSON.parse(container) as { image: string; value: unknown };
  return { imageStays: is.image === wanted, value: is.value };
}
