/** How a step is defined: all that anybody has to know of it, once. The steps themselves are in steps/, the registry is steps.ts. */
import * as z from "zod";
import type { StepEnding } from "./endings.ts";

/** Raised when a request's shape changes in a way that an older `ops` image would misread. */
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
  /** Holds deployment-state.json, current.json and history.jsonl of this deployment. Mounted at /state. */
  stateLocation: z.string(),
  /** Holds `<deployment id>.log`, JSON lines. Mounted at /logs. */
  logLocation: z.string(),
};

/** Fields of a request that say what else is mounted. */
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
/** What a step in the `ops` container reads and writes beside the deployment's state and logs. */
export type Mount = keyof typeof mountFields;

const networkFields = {
  /** None of its own: a step that only reads and writes files. Attaching a container to a network takes 0.1 s. */
  none: {},
  private: {
    /** The Docker network that the step runs in. */
    network: z.string(),
  },
};
type Network = keyof typeof networkFields;

/** What a step says of itself, wherever it runs. */
interface Facts<Own extends z.ZodRawShape, Result extends z.ZodType> {
  /** Fields of the request that are its own. */
  request: Own;
  result: Result;
  /** How a deployment ends when it fails; `other` unless given. */
  ending?: StepEnding;
  /** How it stands in the program's graph; none for a step that only a command of `togather` runs. */
  resource?: StepResource<z.infer<Result>>;
  /** What came out, in a few words, for people. What an older version printed may lack fields. */
  says?: (result: Partial<z.infer<Result>>) => string;
}

/** A step in Pulumi's graph. Names of resources and type tokens are in people's states: they never change. */
export interface StepResource<Result> {
  /** The components whose command it is, by the last part of their type token. */
  components: readonly [string, ...string[]];
  /** The command's name is the component's and this: `<component>-<part>`. */
  part: string;
  /** The component's outputs, and the fields of the result that they show. */
  outputs?: Readonly<Record<string, keyof Result & string>>;
}

/** A step as everybody else sees it. */
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
   * Whether it runs in the router's network namespace, where there is a router: for steps that a rollback waits for, and that talk to the router
   * alone or to nobody. A namespace of its own takes a third of a container's time.
   */
  joinsRouter: (request: z.infer<Request>) => boolean;
  /** It opens or closes a deployment, and so writes the history itself; the others are a phase of the deployment that is open. */
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

/** A step that runs in the `ops` container on the Docker host. Its request has the fields that its network and mounts take. */
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
