/** `docker run` arguments of a temporary container for one program: always built here, with the same restrictions. */
export interface OneOff {
  image: string;
  /** Replaces the image's entry point, with its arguments. */
  program?: readonly string[] | undefined;
  /** Arguments of the image's entry point. */
  command?: readonly string[] | undefined;
  /** A network's name, `none`, `host`, or `container:NAME`. */
  network: string;
  name?: string | undefined;
  labels?: Readonly<Record<string, string>> | undefined;
  /** Its stdin is the client's. */
  interactive?: boolean | undefined;
  /** Root's capabilities that it keeps. All others are dropped. */
  capabilities?: readonly string[] | undefined;
  /**
   * Directories of the host, or volumes, by their path in the container. Unlike with --volume, a missing one is an
   * error.
   */
  mounts?: readonly { type: "bind" | "volume"; source: string; target: string; readonly: boolean }[] | undefined;
  /**
   * Names of variables. Their values are in the client's environment: everybody on the machine can read values on a
   * command line.
   */
  variables?: readonly string[] | undefined;
  /** Whether a missing image is pulled. */
  pull?: boolean | undefined;
  /** Further options of this container. */
  options?: readonly string[] | undefined;
}

/**
 * Arguments for a container with a read-only file system, without privileges except the named ones, whose output goes
 * only to the client.
 */
export function oneOffArguments({
  image,
  program,
  command = [],
  network,
  name,
  labels = {},
  interactive = false,
  capabilities = [],
  mounts = [],
  variables = [],
  pull = false,
  options = [],
}: OneOff): string[] {
  const [entrypoint, ...rest] = program ?? [];
  return [
    ...["run", "--rm", ...(interactive ? ["--interactive"] : []), ...(pull ? [] : ["--pull=never"])],
    ...(name === undefined ? [] : [`--name=${name}`]),
    `--network=${network}`,
    ...Object.entries(labels).map(([label, value]) => `--label=${label}=${value}`),
    ...["--log-driver=none", "--read-only", "--security-opt=no-new-privileges", "--cap-drop=ALL"],
    ...capabilities.map((capability) => `--cap-add=${capability}`),
    ...mounts.map(
      ({ type, source, target, readonly }) =>
        `--mount=type=${type},source=${source},target=${target}${readonly ? ",readonly" : ""}`,
    ),
    ...variables.map((variable) => `--env=${variable}`),
    ...options,
    ...(entrypoint === undefined ? [] : [`--entrypoint=${entrypoint}`]),
    image,
    ...(entrypoint === undefined ? command : rest),
  ];
}
