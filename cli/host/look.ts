import { containerName, labels, networkName } from "../../ops/contract/names.ts";
import { hostLockHolder, type LockHolder } from "../../ops/host/host-lock.ts";
import { readMaintenance, type Maintenance, type Part } from "../../ops/host/serving-slot.ts";
import { parseHealth } from "../../ops/contract/health.ts";
import {
  currentSchema,
  deploymentStateSchema,
  parseHistory,
  withLastEvents,
  type Current,
  type DeploymentState,
  type HistoryEvent,
} from "../../ops/contract/deployment-state.ts";
import { slotNames, slotNameSchema, type Release, type SlotName } from "../../ops/contract/steps.ts";
import type { PlainSettings } from "../stack-file.ts";
import {
  DockerHost,
  NotOnHost,
  type Answer,
  type Container,
  type ProbeAnswer,
  type ProbeQuestion,
} from "./docker-host.ts";

/** A server's current answer. */
export interface Health {
  status: "healthy" | "degraded" | "unhealthy" | "no answer";
  /** The version that the server reports. */
  version?: string;
  /** The problem, or the reason why there is no answer. */
  detail?: string;
}

/** The real state of a slot. */
export interface SlotReport {
  slot: SlotName;
  /** The release of its container. */
  release: Release | undefined;
  container: { state: string; since: string; exitCode: number; restarts: number } | undefined;
  /** Undefined: no container runs. */
  health: Health | undefined;
}

/** The state of a deployment on its host. */
export interface HostReport {
  slots: Record<SlotName, SlotReport>;
  /** State of each existing container, in Docker's words. */
  states: Partial<Record<Part, string>>;
  router: {
    /** State of its container. Undefined: there is none. */
    state: string | undefined;
    /** The slot that it sent this request to, by its own answer. */
    slot: SlotName | undefined;
    /**
     * The slot that it starts with, the time at which that was set, and the releases that have had all traffic and kept
     * it.
     */
    persisted: { slot: SlotName; changedAt: string; served: Partial<Record<SlotName, Release>> } | undefined;
    health: Health | undefined;
    /** While it is on, the public is kept out. */
    maintenance: Maintenance | undefined;
  };
  /** The current holder of the lock: somebody deploys. */
  lock: LockHolder | undefined;
  /** deployment-state.json. */
  state: DeploymentState | undefined;
  /** The current or last deployment. */
  current: Current | undefined;
  history: HistoryEvent[];
}

const errors: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens",
  EHOSTUNREACH: "no container has its address",
  ENOENT: "its control socket is not there",
};

/** Judges the answer of a health endpoint. */
export function healthOf(answer: Answer): Health {
  if ("error" in answer) return { status: "no answer", detail: errors[answer.error] ?? answer.error };
  const health = parseHealth(answer.body);
  if (health === undefined)
    return {
      status: answer.status >= 200 && answer.status < 300 ? "degraded" : "unhealthy",
      detail: `HTTP ${answer.status} without a known health document`,
    };
  const { status, version } = health;
  const failing = (["database", "migrations", "jobs"] as const).flatMap((name) =>
    health[name] && health[name].status !== "pass" ? [`${name}: ${health[name].detail}`] : [],
  );
  const detail = [...failing, ...health.others].join("; ");
  return { status, version, ...(detail === "" ? {} : { detail }) };
}

/**
 * Whether a server can take all requests with the database's current schema: a degraded one, too, since its gate
 * accepted that, unless the schema is what is missing.
 */
export function canServe(health: Health | undefined): boolean {
  if (health?.status !== "degraded") return health?.status === "healthy";
  return health.version !== undefined && !/(^|; )(database|migrations): /.test(health.detail ?? "");
}

function parsed<T>(
  text: string | null | undefined,
  schema: { safeParse: (value: unknown) => { success: true; data: T } | { success: false } },
): T | undefined {
  if (text === null || text === undefined) return undefined;
  try {
    const result = schema.safeParse(JSON.parse(text));
    return result.success ? result.data : undefined;
  } catch {
    return undefined;
  }
}

function releaseOf(container: Container): Release | undefined {
  const has = container.Config.Labels ?? {};
  const { [labels.version]: labelledVersion, [labels.commit]: labelledCommit } = has;
  if (labelledVersion !== undefined && labelledCommit !== undefined)
    return { version: labelledVersion, commit: labelledCommit };
  // Pulled images have their own labels, or none.
  if (has[labels.source] === undefined) return undefined;
  const version = has["org.opencontainers.image.version"];
  const commit = has["org.opencontainers.image.revision"];
  return version === undefined || commit === undefined ? undefined : { version, commit };
}

const isRunning = (container: Container | undefined): container is Container => container?.State.Status === "running";

/** A container's address in the deployment's private network: a slot may also be in the database's network. */
export function addressOf(
  { NetworkSettings }: Pick<Container, "NetworkSettings">,
  network: string,
): string | undefined {
  const address = NetworkSettings.Networks[network]?.IPAddress;
  return address === "" ? undefined : address;
}

const slotText = (text: string | null | undefined): SlotName | undefined => slotNameSchema.safeParse(text).data;

/** Ports on which the router listens in the private network. */
const routerPorts = { http: 8080, https: 8443, internal: 9080 };

type Containers = Awaited<ReturnType<DockerHost["containers"]>>;
type Names = Record<Part, string>;

/** The questions of one look: the servers and the router by their addresses, and the stored files. */
function questionsTo(
  { source, name }: Pick<PlainSettings, "name" | "source">,
  containers: Containers,
  names: Names,
): ProbeQuestion {
  const reached = (part: "router" | SlotName): string | undefined => {
    const container = containers.get(names[part]);
    return isRunning(container) ? addressOf(container, networkName(name)) : undefined;
  };
  const servers: Record<string, string> = {};
  for (const slot of slotNames) {
    const address = reached(slot);
    if (address !== undefined) servers[slot] = new URL(source.healthPath, `http://${address}:${source.port}`).href;
  }
  const router = reached("router");
  return {
    servers,
    ...(router === undefined
      ? {}
      : {
          router: {
            http: new URL(source.healthPath, `http://${router}:${routerPorts.http}`).href,
            https: new URL(source.healthPath, `https://${router}:${routerPorts.https}`).href,
            internal: new URL(source.healthPath, `http://${router}:${routerPorts.internal}`).href,
            control: "/router/run/control.sock",
          },
        }),
    files: {
      current: "/state/current.json",
      state: "/state/deployment-state.json",
      history: "/state/history.jsonl",
      slot: "/router/state/slot.json",
    },
  };
}

/** Asks through a container on the host. The host may have no stored files; the servers may exist all the same. */
async function probeHost(
  host: DockerHost,
  question: ProbeQuestion,
  { stateLocation, volumes, network }: { stateLocation: string; volumes: Record<string, string>; network?: string },
): Promise<ProbeAnswer> {
  try {
    return await host.probe(question, { directories: { "/state": stateLocation }, volumes }, network);
  } catch (error) {
    if (!(error instanceof NotOnHost)) throw error;
  }
  try {
    return await host.probe(question, { volumes }, network);
  } catch (error) {
    if (!(error instanceof NotOnHost)) throw error;
    // Without an ops image there is no deployment.
    return { servers: {}, router: null, files: {}, control: null };
  }
}

/** The router's file: the slot that it starts with, and the releases that have had all traffic. */
const persistedSlotSchema = {
  safeParse(value: unknown) {
    const {
      slot,
      changedAt,
      served = {},
    } = value as { slot?: string; changedAt?: string; served?: Partial<Record<SlotName, Release>> };
    const name = slotText(slot);
    return name === undefined || changedAt === undefined
      ? { success: false as const }
      : { success: true as const, data: { slot: name, changedAt, served } };
  },
};

/**
 * Examines a deployment's containers, asks its servers and its router, and reads its stored files. Changes nothing.
 * @param meanwhile called when this process only has to wait for the host.
 */
export async function look(
  settings: Pick<PlainSettings, "name" | "host" | "source" | "stateLocation">,
  meanwhile?: () => void,
): Promise<HostReport> {
  const host = new DockerHost(settings.host);
  const names: Names = {
    database: containerName(settings.name, "database"),
    blue: containerName(settings.name, "blue"),
    green: containerName(settings.name, "green"),
    router: containerName(settings.name, "router"),
  };
  host.findImage();
  const [containers, lock] = await Promise.all([
    host.containers(Object.values(names)),
    hostLockHolder(settings.name, settings.host),
  ]);
  const router = containers.get(names.router);
  const running = [router, containers.get(names.blue), containers.get(names.green)].some(isRunning);
  const routerVolume = router?.Mounts?.find(({ Destination }) => Destination === "/router")?.Name;
  const asked = probeHost(host, questionsTo(settings, containers, names), {
    stateLocation: settings.stateLocation,
    volumes: routerVolume === undefined ? {} : { "/router": routerVolume },
    ...(running ? { network: networkName(settings.name) } : {}),
  });
  if (meanwhile !== undefined) setImmediate(meanwhile);
  const answer = await asked;

  const state = parsed(answer.files["state"], deploymentStateSchema);
  const current = parsed(answer.files["current"], currentSchema);
  const report = (slot: SlotName): SlotReport => {
    const container = containers.get(names[slot]);
    const health = answer.servers[slot];
    return {
      slot,
      release: container && (releaseOf(container) ?? current?.slots[slot] ?? state?.slots[slot]),
      container: container && {
        state: container.State.Status,
        since: container.State.Status === "running" ? container.State.StartedAt : container.State.FinishedAt,
        exitCode: container.State.ExitCode,
        restarts: container.RestartCount,
      },
      health: health && healthOf(health),
    };
  };
  const through = answer.router;
  const states = Object.fromEntries(
    Object.entries(names).flatMap(([part, name]) => {
      const container = containers.get(name);
      return container === undefined ? [] : [[part, container.State.Status]];
    }),
  );
  return {
    slots: { blue: report("blue"), green: report("green") },
    states,
    router: {
      state: router?.State.Status,
      slot: through && "slot" in through ? slotText(through.slot) : undefined,
      persisted: parsed(answer.files["slot"], persistedSlotSchema),
      health: through === null ? undefined : healthOf(through),
      maintenance: through?.maintenance === undefined ? undefined : readMaintenance(through.maintenance),
    },
    lock,
    state,
    current,
    history: withLastEvents(parseHistory(answer.files["history"] ?? ""), current),
  };
}
