/** What a container of the stack is, beside the image that it is to have: whether Pulumi would replace it. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { bundledImageTag, type BundledImage } from "../image.ts";
import { dockerEnvironment } from "./host-lock.ts";

const run = promisify(execFile);
/** Longest wait for the Docker host, in ms. */
const answerMs = 30_000;

/** Which container of which deployment, and what is asked of it. */
interface Asked {
  /** The deployment's name. */
  name: string;
  /** Docker host; the local engine when empty. */
  host: string;
  /** The end of the container's name. */
  part: "db" | "router";
  image: BundledImage;
  /** Docker's template of the value that is asked for, as JSON. */
  value: string;
}

/** Undefined where there is no container yet. @throws when Docker's answer is no JSON. */
export async function containerInPlace({
  name,
  host,
  part,
  image,
  value,
}: Asked): Promise<{ imageStays: boolean; value: unknown } | undefined> {
  const docker = (...args: string[]): Promise<string> =>
    run("docker", args, { env: dockerEnvironment(host), timeout: answerMs }).then(({ stdout }) => stdout.trim());
  const [container, wanted] = await Promise.all([
    docker(
      "container",
      "inspect",
      "--format",
      `{"image":"{{.Image}}","value":${value}}`,
      `togather-${name}-${part}`,
    ).catch(() => undefined),
    // An image that is not there has yet to be built, so that it is another one.
    docker("image", "inspect", "--format", "{{.Id}}", bundledImageTag(image)).catch(() => "not built yet"),
  ]);
  if (container === undefined) return undefined;
  const is = JSON.parse(container) as { image: string; value: unknown };
  return { imageStays: is.image === wanted, value: is.value };
}
