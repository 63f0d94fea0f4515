/**
 * Which slot takes requests, asked of the deployment itself: nginx's memory, the router's state file, and the labels of the
 * slots' containers. Two short Docker calls at once; it works the same with an engine behind ssh, and whether or not the router runs.
 */
import { containerName, labels, slotNamed } from "../contract/names.ts";
import type { Release, SlotName } from "../contract/steps.ts";
import { slotNames } from "../contract/steps.ts";
import { sentBackSchema, type SentBack } from "../contract/sent-back.ts";
import { dockerProblem, tryDocker, type DockerAnswer } from "./docker.ts";

/** What takes requests. */
export interface Serving {
  slot: SlotName;
  release: Release;
  /** On which its server listens; undefined where its container doesn't tell. */
  port?: number | undefined;
  /** What the containers of both slots were made from. */
  held?: Partial<Record<SlotName, Release>>;
  /** The release of each slot that took over all traffic and kept it. */
  served?: Partial<Record<SlotName, Release>> | undefined;
}

/** The router, as it is at this moment. */
export interface RouterNow {
  /** Where it sends requests: by nginx's memory, or, where nginx does not answer, by the file that it starts from. */
  slot: SlotName | undefined;
  /** By nginx's memory alone; undefined where it does not answer, or has none. */
  memory: SlotName | undefined;
  /** By the file alone; undefined where it is not there, or damaged. */
  file: SlotName | undefined;
  /** Memory, file and the time at which the file was written: another text after each switch. */
  mark: string;
  /** Releases from which traffic was sent back. */
  sentBack: readonly SentBack[];
}

/** Containers of a blue-green deployment, by their label. */
const parts = ["database", "router", ...slotNames] as const;
export type Part = (typeof parts)[number];

/** What the slots' containers were given. */
export interface Containers {
  /** DATABASE_URL of each slot's server: a secret. Empty unless it was asked for. */
  databaseUrls: Partial<Record<SlotName, string>>;
}

/** What a deployment's Docker host tells. */
export interface HostNow extends Containers {
  /** What takes requests; undefined before the first switch, and where the serving slot's container is gone. */
  serving: Serving | undefined;
  /** Undefined where there is no router. */
  router: RouterNow | undefined;
  /** What the slots' containers were made from. */
  held: Partial<Record<SlotName, Release>>;
  /** The release of each slot that took over all traffic and kept it, by the router's file. */
  served: Partial<Record<SlotName, Release>>;
  /** How each container is, in Docker's words; without those that are not there. */
  states: Partial<Record<Part, string>>;
  /** Id of each container that is there. */
  ids: Partial<Record<Part, string>>;
}

/** Longest wait for the Docker host, in ms. */
const answerMs = 30_000;

const askDocker = (args: readonly string[], host: string): Promise<DockerAnswer> =>
  tryDocker(args, { host, timeoutMs: answerMs });

/** Prints nginx's own answer, when its state file was written, and the file: a line, a line, and the rest. */
const askRouter = `curl --silent --max-time 2 --unix-socket /router/run/control.sock http://router/slot | tr -d '\\n'; echo
stat -c %y /router/state/slot.json 2>/dev/null || echo; cat /router/state/slot.json 2>/dev/null || true`;

/** The content of the one file in a tar, as `docker cp` writes it: a header of 512 bytes, the size in octal digits at 124. */
export function fileInTar(tar: Buffer): string {
  const size = parseInt(tar.subarray(124, 136).toString("latin1").replace(/\0.*$/, ""), 8);
  return tar.subarray(512, 512 + size).toString("utf8");
}

type StateFile = Pick<Serving, "slot" | "served"> & Pick<RouterNow, "sentBack">;

/** The slot that a state file names, the releases that have served and those that were sent back; undefined where it names none. */
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
  /** nginx's memory; undefined where it does not answer, or has none. */
  memory: SlotName | undefined;
  file: StateFile | undefined;
  written: string;
}

/** @throws {StepError} when the Docker host doesn't answer. */
async function routerState(container: string, host: string): Promise<RouterState | undefined> {
  const asked = await askDocker(["exec", container, "sh", "-c", askRouter], host);
  if (asked.ok) {
    const [answer = "", written = "", ...file] = asked.stdout.split("\n");
    return { memory: readState(answer)?.slot, file: readState(file.join("\n")), written };
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

/** Of a container's environment, nothing but its DATABASE_URL leaves the engine's answer. */
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
 * What the Docker host tells at this moment.
 * @param ask `databaseUrls`: also what the servers were given to reach their database.
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
  };
  const release = slot && held[slot];
  const serving = slot && release && { slot, release, port: listening[slot], held, served: file?.served };
  return { serving, router, ...found };
}

/**
 * What takes requests on the Docker host at this moment. Undefined before the first switch, and where the router or the
 * serving slot's container is gone: then nothing is served that a change could interrupt.
 * @throws {StepError} when the Docker host doesn't answer.
 */
export async function servingSlot(name: string, host: string): Promise<Serving | undefined> {
  return (await lookAtHost(name, host)).serving;
}
