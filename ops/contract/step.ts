/**
 * The definition of a step: everything that others need to know about it, in one place. The steps themselves are in
 * steps/, the registry is steps.ts.
 */
import * as z from "zod";
import type { StepEnding } from "./endings.ts";

/** Increased when a request's shape changes in a way that an older `ops` image would misread. */
export const CONTRACT_VERSION = 1;

/** Fields that every request has. */
const common = {
  contract: z.literal(CONTRACT_VERSION),
  /** The deployment's name: the prefix of its containers (`togather-<name>-blue`), volumes and network. */
  name: z.string(),
  environment: z.enum(["production", "staging", "development"]),
};

/** Directories on the Docker host, bind-mounted into every step that runs in the `ops` container. */
const hostDirectories = {
  /** Contains deployment-state.json, current.json and history.jsonl of this deployment. Mounted at /state. */
  stateLocation: z.string(),
  /** Contains `<deployment id>.log`, JSON lines. Mounted at /logs. */
  logLocation: z.string(),
};

/** Fields of a request for further mounts. */
const mountFields = {
  backups: {
    /** Directory of the snapshots on the Docker host. Mounted at /backups. */
    backupLocation: z.string(),
  },
  router: {
    /** The router's volume, mounted at /router: state/slot.json and run/control.sock. */
    volume: z.string(),
  },
};
/** A mount of a step in the `ops` container, beside the deployment's state and logs. */
export type Mount = keyof typeof mountFields;

const networkFields = {
  /** No network: for a step that only reads and writes files. Attaching a container to a network takes 0.1 s. */
  none: {},
  private: {
    /** The Docker network that the step runs in. */
    network: z.string(),
  },
};
type Network = keyof typeof networkFields;

/** Facts about a step, wherever it runs. */
interface Facts<Own extends z.ZodRawShape, Result extends z.ZodType> {
  /** The request's own fields. */
  request: Own;
  result: Result;
  /** The deployment's ending when the step fails. Default: `other`. */
  ending?: StepEnding;
  /** Its resource in the program's graph. Missing for a step that only a command of `togather` runs. */
  resource?: StepResource<z.infer<Result>>;
  /** The result as a short text for people. Fields may be missing in the output of an older version. */
  says?: (result: Partial<z.infer<Result>>) => string;
}

/** A step in Pulumi's graph. Names of resources and type tokens are in people's states: they never change. */
export interface StepResource<Result> {
  /** The components that run the command, by the last part of their type token. */
  components: readonly [string, ...string[]];
  /** The suffix of the command's name: `<component>-<part>`. */
  part: string;
  /** The component's outputs, with the result field of each. */
  outputs?: Readonly<Record<string, keyof Result & string>>;
}

/** A step's definition as others see it. */
export interface StepDefinition<
  Runs extends "client" | "container" = "client" | "container",
  Request extends z.ZodType = z.ZodType,
  Result extends z.ZodType = z.ZodType,
> {
  /** On the operator's machine, with its Docker client; or in an `ops` container on the Docker host. */
  runs: Runs;
  request: Request;
  result: Result;
  network: Network;
  mounts: readonly Mount[];
  /**
   * Whether it runs in the router's network namespace, where there is a router: for steps that a rollback waits for,
   * and that talk to the router alone or to nobody. A new namespace takes a third of a container's start time.
   */
  joinsRouter: (request: z.infer<Request>) => boolean;
  /**
   * It opens or closes a deployment, and so writes the history itself. The others are phases of the open deployment.
   */
  writesHistory: boolean;
  ending: StepEnding | undefined;
  resource: StepResource<z.infer<Result>> | undefined;
  says: ((result: Partial<z.infer<Result>>) => string) | undefined;
}

type Strict<Shape extends z.ZodRawShape> = z.ZodObject<Shape, z.core.$strict>;
type ClientShape<Own> = typeof common & Own;
type ContainerShape<Own, N extends Network, M extends Mount> = typeof common &
  typeof hostDirectories &
  (typeof networkFields)[N] &
  ("backups" extends M ? typeof mountFields.backups : unknown) &
  ("router" extends M ? typeof mountFields.router : unknown) &
  Own;

/** A step that runs on the operator's machine, with its Docker client. */
export function clientStep<Own extends z.ZodRawShape, Result extends z.ZodType>({
  request,
  result,
  ending,
  resource,
  says,
}: Facts<Own, Result>): StepDefinition<"client", Strict<ClientShape<Own>>, Result> {
  return {
    runs: "client",
    request: z.strictObject({ ...common, ...request }),
    result,
    network: "none",
    mounts: [],
    joinsRouter: () => false,
    writesHistory: false,
    ending,
    resource,
    says,
  };
}

/**
 * A step that runs in the `ops` container on the Docker host. Its request includes the fields of its network and
 * mounts.
 */
export function containerStep<
  N extends Network,
  Own extends z.ZodRawShape,
  Result extends z.ZodType,
  M extends Mount = never,
>({
  request,
  result,
  network,
  mounts = [],
  joinsRouter = () => false,
  writesHistory = false,
  ending,
  resource,
  says,
}: Facts<Own, Result> & {
  network: N;
  mounts?: readonly M[];
  joinsRouter?: (request: z.infer<Strict<ContainerShape<Own, N, M>>>) => boolean;
  writesHistory?: boolean;
}): StepDefinition<"container", Strict<ContainerShape<Own, N, M>>, Result> {
  const shape = Object.assign(
    { ...common, ...hostDirectories, ...networkFields[network] },
    ...mounts.map((mount) => mountFields[mount]),
    request,
  ) as ContainerShape<Own, N, M>;
  return {
    runs: "container",
    request: z.strictObject(shape) as z.ZodType as Strict<ContainerShape<Own, N, M>>,
    result,
    network,
    mounts,
    joinsRouter,
    writesHistory,
    ending,
    resource,
    says,
  };
}
