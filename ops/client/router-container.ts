/** Whether the router's container, of which there is one for both slots, would be replaced: the one thing that interrupts traffic. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import * as z from "zod";
import { bundledImageTag } from "../image.ts";
import { dockerEnvironment } from "./host-lock.ts";

const run = promisify(execFile);
/** Longest wait for the Docker host, in ms. */
const answerMs = 30_000;

const containerSchema = z.object({ image: z.string(), ports: z.record(z.string(), z.array(z.object({ HostIp: z.string(), HostPort: z.string() })).nullable()) });

/** What the settings want of it. */
export interface WantedRouter {
  /** The deployment's name. */
  name: string;
  /** Docker host; the local engine when empty. */
  host: string;
  /** Where it listens on the host, such as `127.0.0.1:8080`. */
  listens: readonly string[];
}

/** The host's addresses as one text, in a fixed order. */
const inWords = (listens: readonly string[]): string => [...listens].sort().join(" and ");

/** Why the container would be replaced, in sentences; empty when it stays, or there is none yet. @throws when the Docker host doesn't answer. */
export async function routerReplacement({ name, host, listens }: WantedRouter): Promise<string[]> {
  const docker = (...args: string[]): Promise<string> => run("docker", args, { env: dockerEnvironment(host), timeout: answerMs }).then(({ stdout }) => stdout.trim());
  const [container, image] = await Promise.all([
    docker("container", "inspect", "--format", '{"image":"{{.Image}}","ports":{{json .HostConfig.PortBindings}}}', `togather-${name}-router`).catch(() => undefined),
    // An image that is not there has yet to be built, so that it is another one.
    docker("image", "inspect", "--format", "{{.Id}}", bundledImageTag("nginx")).catch(() => "not built yet"),
  ]);
  if (container === undefined) return [];
  const is = containerSchema.parse(JSON.parse(container));
  const now = Object.values(is.ports).flatMap((bindings) => (bindings ?? []).map(({ HostIp, HostPort }) => `${HostIp}:${HostPort}`));
  return [
    ...(is.image === image ? [] : ["its image changes"]),
    ...(inWords(now) === inWords(listens) ? [] : [`it listens on ${inWords(now)}, and is to listen on ${inWords(listens)}`]),
  ];
}
