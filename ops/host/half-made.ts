/**
 * Containers and networks that a killed run of Pulumi has created on the Docker host without recording them: the next
 * run would find their names taken. Volumes are no problem: creating an existing one is no error.
 */
import { containerName, labels } from "../contract/names.ts";
import type { SlotName } from "../contract/steps.ts";
import { StepError } from "../contract/errors.ts";
import type { InterruptedState } from "./pending-operations.ts";
import type { Part } from "./serving-slot.ts";

/** An object on the host with the name of a pending create. */
export interface HalfMade {
  kind: "container" | "network";
  name: string;
}

const kinds: Readonly<Record<string, HalfMade["kind"]>> = {
  "docker:index/container:Container": "container",
  "docker:index/network:Network": "network",
};

/** Objects that may be half-made, judged by the pending operations. */
export function mayBeHalfMade({ pending }: InterruptedState): HalfMade[] {
  const found = new Map<string, HalfMade>();
  for (const { operation, type, name } of pending) {
    const kind = kinds[type];
    if (operation === "creating" && kind !== undefined && name !== undefined)
      found.set(`${kind} ${name}`, { kind, name });
  }
  // A network can only be removed when it has no containers.
  return [...found.values()].sort((a, b) => a.kind.localeCompare(b.kind));
}

/**
 * Containers of a deployment that the state does not know, and that no killed run was creating: the state was lost, or
 * belongs to another deployment.
 * @param ids ids of existing containers.
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

/** A container or network on the Docker host. */
export interface OnHost extends HalfMade {
  id: string;
  /** The deployment in its labels. */
  deployment: string;
  part: string;
}

/**
 * Whether it may be removed: a create of its name was interrupted, it belongs to this deployment, the state does not
 * know it, and it is not the slot that serves.
 */
export function isHalfMade(
  found: OnHost,
  deployment: string,
  ids: InterruptedState["ids"],
  serving: SlotName | undefined,
): boolean {
  return found.deployment === deployment && !ids.has(found.id) && found.part !== serving;
}

/** Seconds that a container gets to end by itself: a database in creation first writes its files. */
const stopSeconds = 60;

type Where = { name: string; host: string; serving: SlotName | undefined };

async function dockerOf(
  host: string,
): Promise<(...args: string[]) => ReturnType<typeof import("./docker.ts").tryDocker>> {
  const { tryDocker } = await import("./docker.ts");
  return (...args) => tryDocker(args, { host });
}

/** Half-made objects on the host, by the pending operations. */
export async function findHalfMade({ name, host, serving }: Where, state: InterruptedState): Promise<OnHost[]> {
  const candidates = mayBeHalfMade(state);
  if (candidates.length === 0) return [];
  const docker = await dockerOf(host);
  const found: OnHost[] = [];
  for (const { kind, name: wanted } of candidates) {
    const list = kind === "container" ? ".Config.Labels" : ".Labels";
    // Network names are not unique in Docker; ids are.
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
 * Removes half-made objects. The caller holds the deployment's lock, so that nobody is creating them now.
 * @returns the removed objects.
 * @throws {StepError} when the Docker host doesn't answer, or can't remove one.
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
