/** A Docker host on which nothing is of what Pulumi's state knows: another one than was deployed to, or one that has lost all. */
import { isDryRun } from "../config/pulumi-runtime.ts";
import { SettingsError, type Problem } from "../config/problems.ts";
import type { Settings } from "../config/settings.ts";
import { toRunError } from "../config/run-error.ts";
import { contextAddress } from "../ops/host/docker-context.ts";
import { labels } from "../ops/contract/names.ts";
import { tryDocker } from "../ops/host/docker.ts";
import type { InterruptedState } from "../ops/host/pending-operations.ts";
import type { HostNow } from "../ops/host/serving-slot.ts";
import { askState, type Interrupted } from "./interrupted.ts";

/** Where a deployment goes, and where it was. */
export interface Where {
  /** `togather:host`; empty where it is not set. */
  setting: string;
  /** As the Docker plugin is told; undefined for this machine's engine. */
  wanted: string | undefined;
  /** The same, of the run that wrote the state. */
  recorded: string | undefined;
}

/** What is wrong, where a host has nothing of what the state knows. */
export function elsewhereProblem({ setting, wanted, recorded }: Where): Problem {
  const called = (host: string | undefined): string => host ?? "this machine's own engine";
  const anew =
    'nothing moves the data by itself: docs/snapshots.md, "When the Docker host is gone", has the commands that begin anew with a copy of it';
  if (wanted === recorded)
    return {
      where: "togather:host",
      what: `${called(wanted)} has nothing of what Pulumi's state knows to be there, neither containers nor volumes: it is another engine than the one that was deployed to, or it has lost all`,
      fix: `where another engine answers: the Docker client's own settings (docker info says which one it is); where all is lost: ${anew}`,
    };
  const back =
    recorded === undefined
      ? setting === ""
        ? "unset DOCKER_HOST (or docker context use default)"
        : "pulumi config rm togather:host"
      : `pulumi config set togather:host ${recorded}`;
  return {
    where: setting === "" ? "DOCKER_HOST" : "togather:host",
    what: `this is deployed on ${called(recorded)}, where it goes on running, and can't move to ${called(wanted)}, which has nothing of it`,
    fix: `stay there: ${back}; or begin anew on ${called(wanted)} on purpose: ${anew}`,
  };
}

/** Whether something of a deployment is on its host that needs no container. @throws when the host does not answer. */
async function hasVolumes({ name, host }: Pick<Settings, "name" | "host">): Promise<boolean> {
  const { ok, stdout } = await tryDocker(["volume", "ls", "--quiet", `--filter=label=${labels.name}=${name}`], {
    host,
  });
  return !ok || stdout.trim() !== "";
}

/** Whether nothing of what the state knows is on the host that was asked. */
export async function isElsewhere(
  { ids }: Pick<HostNow, "ids">,
  { ids: known, containers, dockerHost }: Pick<InterruptedState, "ids" | "containers" | "dockerHost">,
  wanted: string | undefined,
  keepsVolumes: () => Promise<boolean>,
): Promise<boolean> {
  const there = Object.values(ids);
  if (containers.length === 0 || there.some((id) => known.has(id))) return false;
  // One of the same name that has other containers than the state knows is another matter, where the host is the same.
  if (dockerHost !== wanted) return true;
  return there.length === 0 && !(await keepsVolumes());
}

/**
 * Refuses a Docker host on which nothing is of what Pulumi's state knows: Pulumi would go on as if it were there, and, once told to look,
 * forget what goes on running, with its data, on the host before.
 * @throws {RunError} that names both, and the ways out.
 */
export async function refuseElsewhere(
  settings: Pick<Settings, "name" | "host">,
  now: Pick<HostNow, "ids">,
  asked: Interrupted,
  env: NodeJS.ProcessEnv,
): Promise<void> {
  // A preview is spared the look into the state where containers are there.
  const state = isDryRun() ? (Object.keys(now.ids).length === 0 ? await askState() : undefined) : await asked;
  if (state === undefined) return;
  const { host: setting } = settings;
  const variable = env["DOCKER_HOST"] ?? "";
  const wanted = setting !== "" ? setting : (contextAddress(env) ?? (variable === "" ? undefined : variable));
  if (!(await isElsewhere(now, state, wanted, () => hasVolumes(settings)))) return;
  throw toRunError(new SettingsError([elsewhereProblem({ setting, wanted, recorded: state.dockerHost })]));
}
