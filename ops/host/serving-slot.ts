/**
 * The slot that takes requests, asked from the deployment itself: nginx's memory, the router's state file, and the
 * labels of the slots' containers. Two short Docker calls at the same time; it works the same with an engine behind
 * ssh, and whether or not the router runs.
 */
import * as z from "zod";
import { containerName, labels, slotNamed } from "../contract/names.ts";
import type { Release, SlotName } from "../contract/steps.ts";
import { slotNames } from "../contract/steps.ts";
import { sentBackSchema, type SentBack } from "../contract/sent-back.ts";
import { dockerProblem, tryDocker, type DockerAnswer } from "./docker.ts";

/** The slot and release that take requests. */
export interface Serving {
  slot: SlotName;
  release: Release;
  /** Port of its server. Undefined: its container doesn't show it. */
  port?: number | undefined;
  /** Releases of both slots' containers. */
  held?: Partial<Record<SlotName, Release>>;
  /** The release of each slot that took over all traffic and kept it. */
  served?: Partial<Record<SlotName, Release>> | undefined;
}

/** The current state of the router. */
export interface RouterNow {
  /**
   * The slot that gets requests: from nginx's memory, or, where nginx does not answer, from the file that it starts
   * from.
   */
  slot: SlotName | undefined;
  /** From nginx's memory alone. Undefined: it does not answer, or has none. */
  memory: SlotName | undefined;
  /** From the file alone. Undefined: missing or damaged. */
  file: SlotName | undefined;
  /** Memory, file and the file's modification time: it differs after each switch. */
  mark: string;
  /** Releases from which traffic was sent back. */
  sentBack: readonly SentBack[];
  /** While it is on, everybody gets a page of the router's own. Undefined where it is off, and where nginx does not answer. */
  maintenance?: Maintenance | undefined;
}

const maintenanceSchema = z.object({ since: z.string(), by: z.string(), message: z.string() });
/** Since when, by whom, and with what words the public is kept out. */
export type Maintenance = z.infer<typeof maintenanceSchema>;

/** What the router's control socket says of it; undefined where it is off, or a router of an older version does not know it. */
export function readMaintenance(text: string): Maintenance | undefined {
  try {
    return z.object({ maintenance: maintenanceSchema }).safeParse(JSON.parse(text)).data?.maintenance;
  } catch {
    return undefined;
  }
}

/** Containers of a blue-green deployment, by their label. */
const parts = ["database", "router", ...slotNames] as const;
export type Part = (typeof parts)[number];

/** Settings in the slots' containers. */
export interface Containers {
  /** DATABASE_URL of each slot's server: a secret. Empty unless requested. */
  databaseUrls: Partial<Record<SlotName, string>>;
}

/** The current state of a deployment on its Docker host. */
export interface HostNow extends Containers {
  /** The slot that takes requests. Undefined: before the first switch, or the serving slot's container is gone. */
  serving: Serving | undefined;
  /** Undefined: there is no router. */
  router: RouterNow | undefined;
  /** Releases of the slots' containers. */
  held: Partial<Record<SlotName, Release>>;
  /** The release of each slot that took over all traffic and kept it, by the router's file. */
  served: Partial<Record<SlotName, Release>>;
  /** State of each existing container, in Docker's words. */
  states: Partial<Record<Part, string>>;
  /** Id of each existing container. */
  ids: Partial<Record<Part, string>>;
}

/** Longest wait for the Docker host, in ms. */
const answerMs = 30_000;

const askDocker = (args: readonly string[], host: string): Promise<DockerAnswer> =>
  tryDocker(args, { host, timeoutMs: answerMs });

/** Prints nginx's own answers, when its state file was written, and the file: a line each, and the rest. */
const askRouter = `for what in slot maintenance; do curl --silent --max-time 2 --unix-socket /router/run/control.sock http://router/$what | tr -d '\\n'; echo; done
stat -c %y /router/state/slot.json 2>/dev/null || echo; cat /router/state/slot.json 2>/dev/null || true`;

/**
 * The content of the single file in a tar from `docker cp`: a header of 512 bytes, with the size in octal digits at
 * 124.
 */
export function fileInTar(tar: Buffer): string {
  const size = parseInt(tar.subarray(124, 136).toString("latin1").replace(/\0.*$/, ""), 8);
  return tar.subarray(512, 512 + size).toString("utf8");
}

type StateFile = Pick<Serving, "slot" | "served"> & Pick<RouterNow, "sentBack">;

/**
 * The slot in a state file, the releases that have served, and those that were sent back. Undefined: it names no slot.
 */
function readState(text: string): StateFile | undefined {
  try {
    const {
      slot: named,
      served,
      sentBack,
    } = JSON.parse(text) as { slot?: unknown; served?: Serving["served"]; sentBack?: unknown };
    const slot = slotNames.find((name) => name === named);
    return slot && { slot, served, sentBack: sentBackSchema.array().safeParse(sentBack).data ?? [] };
  } catch {
    return undefined;
  }
}

interface RouterState {
  /** nginx's memory. Undefined: it does not answer, or has none. */
  memory: SlotName | undefined;
  file: StateFile | undefined;
  written: string;
  maintenance?: Maintenance | undefined;
}

/** @throws {StepError} when the Docker host doesn't answer. */
async function routerState(container: string, host: string): Promise<RouterState | undefined> {
  const asked = await askDocker(["exec", container, "sh", "-c", askRouter], host);
  if (asked.ok) {
    const [answer = "", maintenance = "", written = "", ...file] = asked.stdout.split("\n");
    return {
      memory: readState(answer)?.slot,
      file: readState(file.join("\n")),
      written,
      maintenance: readMaintenance(maintenance),
    };
  }
  // It does not run: the file is what it would start from.
  const copied = await askDocker(["cp", `${container}:/router/state/slot.json`, "-"], host);
  if (copied.ok)
    return {
      memory: undefined,
      file: readState(fileInTar(copied.bytes)),
      written: copied.bytes.subarray(136, 147).toString("latin1"),
    };
  if (/could not find the file/i.test(copied.stderr)) return { memory: undefined, file: undefined, written: "" };
  if (/no such container/i.test(copied.stderr)) return undefined;
  throw dockerProblem(copied.stderr);
}

/** Of a container's environment, only its DATABASE_URL leaves the engine's answer. */
const databaseUrlFormat = `{{.Name}}{{range .Config.Env}}{{if eq (index (split . "=") 0) "DATABASE_URL"}} {{.}}{{end}}{{end}}`;

/** The DATABASE_URL of each slot's server. A slot without a container has none. */
async function databaseUrlsOf(name: string, host: string): Promise<HostNow["databaseUrls"]> {
  const { stdout } = await askDocker(
    ["container", "inspect", `--format=${databaseUrlFormat}`, ...slotNames.map((slot) => containerName(name, slot))],
    host,
  );
  return Object.fromEntries(
    stdout.split("\n").flatMap((line) => {
      const [, container = "", url] = /^(\S+) DATABASE_URL=(.*)$/.exec(line) ?? [];
      const slot = slotNamed(container);
      return slot === undefined ? [] : [[slot, url]];
    }),
  );
}

/**
 * Asks the Docker host for the current state.
 * @param ask `databaseUrls`: also the servers' DATABASE_URL.
 * @throws {StepError} when it doesn't answer.
 */
export async function lookAtHost(
  name: string,
  host: string,
  ask: { databaseUrls: boolean } = { databaseUrls: false },
): Promise<HostNow> {
  const [databaseUrls, state, containers] = await Promise.all([
    ask.databaseUrls ? databaseUrlsOf(name, host) : {},
    routerState(containerName(name, "router"), host),
    askDocker(
      [
        "ps",
        "--all",
        "--no-trunc",
        `--filter=label=${labels.name}=${name}`,
        `--format={{.State}} {{.Label "${labels.part}"}} {{.Label "${labels.version}"}} {{.Label "${labels.commit}"}} {{.Label "${labels.port}"}} {{.ID}}`,
      ],
      host,
    ),
  ]);
  if (!containers.ok) throw dockerProblem(containers.stderr);
  const lines = containers.stdout.split("\n").map((line) => line.split(" "));
  const states: HostNow["states"] = {};
  const ids: HostNow["ids"] = {};
  for (const [status = "", label, ...rest] of lines) {
    const part = parts.find((one) => one === label);
    if (part === undefined) continue;
    states[part] = status;
    ids[part] = rest.at(-1);
  }
  const held: Partial<Record<SlotName, Release>> = {};
  const listening: Partial<Record<SlotName, number>> = {};
  for (const [, part, version, commit, listens = ""] of lines) {
    const slot = slotNames.find((one) => one === part);
    if (slot === undefined || version === undefined || commit === undefined || commit === "") continue;
    held[slot] = { version, commit };
    if (listens !== "") listening[slot] = Number(listens);
  }
  const found = { held, served: state?.file?.served ?? {}, states, ids, databaseUrls };
  if (state === undefined) return { serving: undefined, router: undefined, ...found };
  const { memory, file, written } = state;
  const slot = memory ?? file?.slot;
  const router = {
    slot,
    memory,
    file: file?.slot,
    mark: `${memory ?? "no slot"} in nginx, ${file?.slot ?? "no slot"} on disk since ${written}`,
    sentBack: file?.sentBack ?? [],
    maintenance: state.maintenance,
  };
  const release = slot && held[slot];
  const serving = slot && release && { slot, release, port: listening[slot], held, served: file?.served };
  return { serving, router, ...found };
}

/**
 * The slot that takes requests on the Docker host now. Undefined: before the first switch, or the router or the serving
 * slot's container is gone; then nothing is served that a change could interrupt.
 * @throws {StepError} when the Docker host doesn't answer.
 */
export async function servingSlot(name: string, host: string): Promise<Serving | undefined> {
  return (await lookAtHost(name, host)).serving;
}
