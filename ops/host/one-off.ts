/** `docker run` of a container for as long as one program takes: one list of arguments, confined alike. */
export interface OneOff {
  image: string;
  /** Instead of the image's own entry point, with its arguments. */
  program?: readonly string[] | undefined;
  /** Arguments of the image's own entry point. */
  command?: readonly string[] | undefined;
  /** A network's name, `none`, `host`, or `container:NAME`. */
  network: string;
  name?: string | undefined;
  labels?: Readonly<Record<string, string>> | undefined;
  /** Its stdin is the client's. */
  interactive?: boolean | undefined;
  /** What it may do of what root may. */
  capabilities?: readonly string[] | undefined;
  /** Directories of the host, or volumes, by where it sees them. Unlike with --volume, one that is not there is an error. */
  mounts?: readonly { type: "bind" | "volume"; source: string; target: string; readonly: boolean }[] | undefined;
  /** Names of variables: their values come by the client's environment, since those on a command line can be read by everybody on the machine. */
  variables?: readonly string[] | undefined;
  /** Whether an image that is not there is pulled. */
  pull?: boolean | undefined;
  /** What only this one needs. */
  options?: readonly string[] | undefined;
}

/** Its file system can't be written to, it has no privileges but those that are named, and its output is the client's alone. */
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
