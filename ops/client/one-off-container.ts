/**
 * A temporary container beside those of the stack, while a step needs it: with a server's image and environment,
 * hardened in the same way, with no published port.
 */
import { labels } from "../contract/names.ts";
import * as z from "zod";
import { createRedactor, isSecretName, type Redactor } from "../contract/redact.ts";
import { docker, lastLines, tryDocker } from "../host/docker.ts";

/**
 * Variables that the Docker client needs with this machine's values: a server's own can't be passed by name, and are no
 * secrets.
 */
const clientsOwn = new Set(["PATH", "HOME", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "SSH_AUTH_SOCK"]);
/** A shorter value is no secret, but a port or a log level, unless its name says so. */
const shortestSecret = 12;

/** The parts of a container. */
export interface ContainerParts {
  image: string;
  environment: (readonly [variable: string, value: string])[];
  /** Docker's options by path. */
  tmpfs: Record<string, string>;
  /** Bytes of /dev/shm; 0: Docker's default. */
  shmSize: number;
  /** Bytes; 0: no limit. */
  memory: number;
  /** `name:address` */
  extraHosts: string[];
  networks: string[];
}

const containerSchema = z
  .array(
    z.looseObject({
      Image: z.string(),
      Config: z.looseObject({ Env: z.array(z.string()).nullish() }),
      HostConfig: z.looseObject({
        ExtraHosts: z.array(z.string()).nullish(),
        Memory: z.number().default(0),
        ShmSize: z.number().default(0),
        Tmpfs: z.record(z.string(), z.string()).nullish(),
      }),
      NetworkSettings: z.looseObject({ Networks: z.record(z.string(), z.unknown()) }),
    }),
  )
  .length(1);

/**
 * The parts of an existing container.
 * @throws {StepError} when there is none of that name.
 */
export async function partsOf(container: string, signal: AbortSignal): Promise<ContainerParts> {
  const [found] = containerSchema.parse(JSON.parse(await docker(["container", "inspect", container], { signal })));
  if (found === undefined) throw new Error(`${container} has no description`);
  const { Image: image, Config, HostConfig, NetworkSettings } = found;
  return {
    image,
    environment: (Config.Env ?? []).map(
      (entry) => [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)] as const,
    ),
    tmpfs: HostConfig.Tmpfs ?? {},
    shmSize: HostConfig.ShmSize,
    memory: HostConfig.Memory,
    extraHosts: HostConfig.ExtraHosts ?? [],
    networks: Object.keys(NetworkSettings.Networks),
  };
}

/** A redactor for all possible secrets in a container's environment: a program in it may print them. */
export function redactorOf({ environment }: Pick<ContainerParts, "environment">): Redactor {
  const secrets = environment.filter(
    ([name, value]) => !clientsOwn.has(name) && (value.length >= shortestSecret || isSecretName(name)),
  );
  return createRedactor({ SERVER_SECRETS: JSON.stringify(secrets.map(([, value]) => value)) });
}

/**
 * Creates the container, in all of its networks, without starting it.
 * @param command replaces the image's entry point and its arguments; default: the image's own.
 * @param deployment name of the deployment, for its label.
 */
export async function createOneOff(
  name: string,
  parts: ContainerParts,
  { deployment, command, signal }: { deployment: string; command?: readonly string[]; signal: AbortSignal },
): Promise<void> {
  const { image, environment, tmpfs, shmSize, memory, extraHosts, networks } = parts;
  const variables = Object.fromEntries(environment.filter(([key]) => !clientsOwn.has(key)));
  const [network = "none", ...others] = networks;
  const [program, ...words] = command ?? [];
  const args = [
    ...["create", "--pull=never", `--name=${name}`, `--network=${network}`, "--init", "--read-only"],
    ...Object.entries({ "/tmp": "rw,noexec,nosuid,size=64m", ...tmpfs }).map(
      ([path, options]) => `--tmpfs=${path}:${options}`,
    ),
    ...(shmSize > 0 ? [`--shm-size=${shmSize}`] : []),
    ...[
      "--cap-drop=ALL",
      "--security-opt=no-new-privileges:true",
      "--restart=no",
      "--log-driver=json-file",
      "--log-opt=max-size=10m",
    ],
    ...[`--label=${labels.name}=${deployment}`, `--label=${labels.part}=step`],
    ...(memory > 0 ? [`--memory=${memory}`] : []),
    ...extraHosts.map((host) => `--add-host=${host}`),
    // By name: everybody on the machine can read values on a command line.
    ...Object.keys(variables).map((key) => `--env=${key}`),
    ...environment.filter(([key]) => clientsOwn.has(key)).map(([key, value]) => `--env=${key}=${value}`),
    ...(program === undefined ? [] : [`--entrypoint=${program}`, "--no-healthcheck"]),
    image,
    ...words,
  ];
  const { ok, stderr } = await tryDocker(args, { signal, give: variables });
  if (!ok) throw new Error(lastLines(stderr, 3));
  for (const other of others) await docker(["network", "connect", other, name], { signal });
}
