/**
 * Containers and networks that a killed run of Pulumi has made on the Docker host without writing them down: the next run
 * would find their names taken. A volume needs nothing: making one that is there is no error.
 */
import { containerName, labels } from "../contract/names.ts";
import type { SlotName } from "../contract/steps.ts";
import { StepError } from "../contract/errors.ts";
import type { InterruptedState } from "./pending-operations.ts";
import type { Part } from "./serving-slot.ts";

/** Something on the host that a pending create has the name of. */
export interface HalfMade {
  kind: "container" | "network";
  name: string;
}

const kinds: Readonly<Record<string, HalfMade["kind"]>> = {
  "docker:index/container:Container": "container",
  "docker:index/network:Network": "network",
};

/** Objects that may be half-made, by the pending operations. */
export function mayBeHalfMade({ pending }: InterruptedState): HalfMade[] {
  const found = new Map<string, HalfMade>();
  for (const { operation, type, name } of pending) {
    const kind = kinds[type];
    if (operation === "creating" && kind !== undefined && name !== undefined)
      found.set(`${kind} ${name}`, { kind, name });
  }
  // A network goes only when no container is in it.
  return [...found.values()].sort((a, b) => a.kind.localeCompare(b.kind));
}

/**
 * Containers of a deployment that the state does not know, and that no killed run was about to make: it was lost, or is another one's.
 * @param ids of those that are there.
 */
export function unknownParts(
  name: string,
  ids: Readonly<Partial<Record<Part, string>>>,
  state: InterruptedState,
): Part[] {
  const halfMade = new Set(mayBeHalfMade(state).map((one) => one.name));
  return (Object.entries(ids) as [Part, string][]).flatMap(([part, id]) =>
    state.ids.has(id) || halfMade.has(containerName(name, part)) ? [] : [part],
  );
}

/** A container or network as the Docker host has it. */
export interface OnHost extends HalfMade {
  id: string;
  /** Labels that say whose it is. */
  deployment: string;
  part: string;
}

/**
 * Whether it may go: a create of its name was interrupted, it is this deployment's, the state does not know it, and it is
 * not the slot that serves.
 */
export function isHalfMade(
  found: OnHost,
  deployment: string,
  ids: InterruptedState["ids"],
  serving: SlotName | undefined,
): boolean {
  return found.deployment === deployment && !ids.has(found.id) && found.part !== serving;
}

/** Seconds that a container gets to end by itself: a database that is being made writes its files first. */
const stopSeconds = 60;

type Where = { name: string; host: string; serving: SlotName | undefined };

async function dockerOf(
  host: string,
): Promise<(...args: string[]) => ReturnType<typeof import("./docker.ts").tryDocker>> {
  const { tryDocker } = await import("./docker.ts");
  return (...args) => tryDocker(args, { host });
}

/** Objects that are half-made on the host, by the pending operations. */
export async function findHalfMade({ name, host, serving }: Where, state: InterruptedState): Promise<OnHost[]> {
  const candidates = mayBeHalfMade(state);
  if (candidates.length === 0) return [];
  const docker = await dockerOf(host);
  const found: OnHost[] = [];
  for (const { kind, name: wanted } of candidates) {
    const list = kind === "container" ? ".Config.Labels" : ".Labels";
    // A network's name is not unique to Docker; its ids tell them apart.
    const { stdout: ids } =
      kind === "network"
        ? await docker("network", "ls", "--no-trunc", "--quiet", `--filter=name=^${wanted}$`)
        : { stdout: wanted };
    for (const one of ids.split("\n").filter(Boolean)) {
      const { ok, stdout } = await docker(
        kind,
        "inspect",
        `--format={{.Id}} {{index ${list} "${labels.name}"}} {{index ${list} "${labels.part}"}}`,
        one,
      );
      if (!ok) continue;
      const [id = "", deployment = "", part = ""] = stdout.trim().split(" ");
      const thing: OnHost = { kind, name: wanted, id, deployment, part };
      if (isHalfMade(thing, name, state.ids, serving)) found.push(thing);
    }
  }
  return found;
}

/**
 * Removes what is half-made. The caller holds the deployment's lock, so that nobody is making it at this moment.
 * @returns what was removed.
 * @throws {StepError} when the Docker host doesn't answer, or keeps it.
 */
export async function removeHalfMade(where: Where, state: InterruptedState): Promise<HalfMade[]> {
  const found = await findHalfMade(where, state);
  if (found.length === 0) return [];
  const docker = await dockerOf(where.host);
  for (const { kind, name, id } of found) {
    if (kind === "container") await docker("stop", `--time=${stopSeconds}`, id);
    const gone = await docker(kind, "rm", ...(kind === "container" ? ["--force"] : []), id);
    if (gone.ok) continue;
    throw new StepError(
      `the ${kind} ${name} was made by a run of Pulumi that was killed; the state does not know it, and it can't be removed: ${gone.stderr.trim()}`,
      {
        hint: `${where.host === "" ? "" : `DOCKER_HOST=${where.host} `}docker ${kind} rm ${id}`,
      },
    );
  }
  return found;
}
