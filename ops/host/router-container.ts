/** Checks whether the router's container, which both slots share, would be replaced: that interrupts traffic. */
import * as z from "zod";
import { containerName } from "../contract/names.ts";
import { containerInPlace } from "./container-in-place.ts";
import { tryDocker } from "./docker.ts";

const portsSchema = z.record(z.string(), z.array(z.object({ HostIp: z.string(), HostPort: z.string() })).nullable());

/** The wanted settings of the router's container. */
export interface WantedRouter {
  /** The deployment's name. */
  name: string;
  /** Docker host; the local engine when empty. */
  host: string;
  /** Addresses on the host, such as `127.0.0.1:8080`. */
  listens: readonly string[];
}

/** Longest wait for the Docker host, in ms. */
const answerMs = 30_000;

export interface RunningConfiguration {
  digest: string;
  /** Digest of its files without the certificate. Undefined: a router from before this was recorded. */
  files: string | undefined;
  /** Time for its workers to end open requests when it is replaced, in nginx's notation: 30s. */
  drain: string;
}

/** The router's running configuration. Undefined: it doesn't run. */
export async function runningConfiguration(name: string, host: string): Promise<RunningConfiguration | undefined> {
  const { ok, stdout } = await tryDocker(
    [
      ...["exec", "--workdir", "/router/conf/current", containerName(name, "router")],
      ...["grep", "-hE", "togather_configuration [0-9a-f]+;|without certificate:|^worker_shutdown_timeout"],
      ...["digest.conf", "nginx.conf"],
    ],
    { host, timeoutMs: answerMs },
  );
  const digest = /togather_configuration ([0-9a-f]+);/.exec(stdout)?.[1];
  if (!ok || digest === undefined) return undefined;
  return {
    digest,
    files: /without certificate: ([0-9a-f]+)/.exec(stdout)?.[1],
    drain: /^worker_shutdown_timeout (\S+);/m.exec(stdout)?.[1] ?? "30s",
  };
}

/** The host's addresses as one text, in a fixed order. */
const inWords = (listens: readonly string[]): string => [...listens].sort().join(" and ");

/**
 * Reasons for which the container would be replaced, as sentences. Empty: it stays, or there is none yet.
 * @throws when the Docker host doesn't answer.
 */
export async function routerReplacement({ name, host, listens }: WantedRouter): Promise<string[]> {
  const container = await containerInPlace({
    name,
    host,
    part: "router",
    image: "nginx",
    value: "{{json .HostConfig.PortBindings}}",
  });
  if (container === undefined) return [];
  const now = Object.values(portsSchema.parse(container.value)).flatMap((bindings) =>
    (bindings ?? []).map(({ HostIp, HostPort }) => `${HostIp}:${HostPort}`),
  );
  return [
    ...(container.imageStays ? [] : ["its image changes"]),
    ...(inWords(now) === inWords(listens)
      ? []
      : [`it listens on ${inWords(now)}, and is to listen on ${inWords(listens)}`]),
  ];
}
