/**
 * Which slot takes requests, asked of the deployment itself: the router's state file, and the labels of the slot's container.
 * Two short Docker calls at once; it works the same with an engine behind ssh, and whether or not the router runs.
 */
import { execFile } from "node:child_process";
import type { Release, SlotName } from "../contract.ts";
import { slotNames } from "../contract.ts";
import { dockerEnvironment } from "./host-lock.ts";

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

/** Labels of a slot's container: which release it runs, and on which port. */
export const releaseLabels = { version: "org.togather.version", commit: "org.togather.commit", port: "org.togather.port" } as const;

/** Longest wait for the Docker host, in ms. */
const answerMs = 30_000;

interface Answer {
  stdout: Buffer;
  /** What Docker said when it failed. */
  problem?: string;
  cause?: Error;
}

function docker(args: readonly string[], host: string): Promise<Answer> {
  return new Promise((resolve) => {
    execFile("docker", args, { env: dockerEnvironment(host), encoding: "buffer", timeout: answerMs }, (error, stdout, stderr) => {
      if (error === null) resolve({ stdout });
      else resolve({ stdout, problem: error.killed === true ? `no answer within ${answerMs / 1000} s` : stderr.toString().trim(), cause: error });
    });
  });
}

/** The failure in words that say what to do. Loaded only then: every preview would pay for it. */
async function failure({ problem = "", cause }: Answer): Promise<Error> {
  const { dockerProblem } = await import("./docker.ts");
  return dockerProblem(problem, cause);
}

/** The content of the one file in a tar, as `docker cp` writes it: a header of 512 bytes, the size in octal digits at 124. */
export function fileInTar(tar: Buffer): string {
  const size = parseInt(tar.subarray(124, 136).toString("latin1").replace(/\0.*$/, ""), 8);
  return tar.subarray(512, 512 + size).toString("utf8");
}

/** The slot that a state file names, and the releases that have served; undefined where it names none. */
function readState(text: string): Pick<Serving, "slot" | "served"> | undefined {
  try {
    const { slot: named, served } = JSON.parse(text) as { slot?: unknown; served?: Serving["served"] };
    const slot = slotNames.find((name) => name === named);
    return slot && { slot, served };
  } catch {
    return undefined;
  }
}

/**
 * What takes requests on the Docker host at this moment. Undefined before the first switch, and where the router or the
 * serving slot's container is gone: then nothing is served that a change could interrupt.
 * @throws {StepError} when the Docker host doesn't answer.
 */
export async function servingSlot(name: string, host: string): Promise<Serving | undefined> {
  const [state, containers] = await Promise.all([
    docker(["cp", `togather-${name}-router:/router/state/slot.json`, "-"], host),
    docker(
      ["ps", "--all", `--filter=label=org.togather.name=${name}`, `--format={{.Label "org.togather.part"}} {{.Label "${releaseLabels.version}"}} {{.Label "${releaseLabels.commit}"}} {{.Label "${releaseLabels.port}"}}`],
      host,
    ),
  ]);
  if (containers.problem !== undefined) throw await failure(containers);
  if (state.problem !== undefined) {
    if (/no such container|could not find the file/i.test(state.problem)) return undefined;
    throw await failure(state);
  }
  const now = readState(fileInTar(state.stdout));
  if (now === undefined) return undefined;
  const { slot, served } = now;
  const held: Partial<Record<SlotName, Release>> = {};
  let port: number | undefined;
  for (const line of containers.stdout.toString().split("\n")) {
    const [part, version, commit, listens = ""] = line.split(" ");
    const name = slotNames.find((one) => one === part);
    if (name === undefined || version === undefined || commit === undefined || commit === "") continue;
    held[name] = { version, commit };
    if (name === slot && listens !== "") port = Number(listens);
  }
  const release = held[slot];
  return release && { slot, release, port, held, served };
}
