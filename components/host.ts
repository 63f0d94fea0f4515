import { labels } from "../ops/contract/names.ts";
import * as docker from "@pulumi/docker";
import { hostDirectories, type HostDirectories } from "../config/host-directories.ts";
import type { Settings } from "../config/settings.ts";
import { orRunError } from "../config/run-error.ts";
import { contextAddress } from "../ops/host/docker-context.ts";

/** The host and directories of a deployment, for every component. */
export interface HostContext {
  /** Fields that every request of a step has. */
  common: { contract: 1; name: string; environment: Settings["environment"] };
  directories: HostDirectories;
  /** Docker host; the local engine when empty. */
  host: string;
}

/** The host context of a deployment. */
export function hostContext(settings: Settings): HostContext {
  return {
    common: { contract: 1, name: settings.name, environment: settings.environment },
    directories: hostDirectories(settings.deployment, settings.name),
    host: settings.host,
  };
}

/**
 * The Docker provider of the deployment's host. Explicit: `docker:host` of the machine's own config can't send a
 * deployment to another host. Where no host is set, it is DOCKER_HOST, or else the engine of the Docker client's
 * context, which the plugin does not know.
 * @param env the environment that the Docker client would have.
 */
export function dockerProvider(settings: Settings, env: NodeJS.ProcessEnv): docker.Provider {
  const host = settings.host === "" ? orRunError(() => contextAddress(env)) : settings.host;
  return new docker.Provider("docker", host === undefined ? {} : { host });
}

/** Keeps a container's log from filling the disk: 3 files of 10 MB. */
export const containerLogging = {
  logDriver: "json-file",
  logOpts: { "max-size": "10m", "max-file": "3" },
} satisfies Partial<docker.ContainerArgs>;

/** Labels by which people and tests find the containers of a deployment. */
export function containerLabels(name: string, part: string): docker.types.input.ContainerLabel[] {
  return [
    { label: labels.name, value: name },
    { label: labels.part, value: part },
  ];
}
