/**
 * Detects a Docker host that has nothing of what Pulumi's state contains: another host than the last deployment's, or
 * one that has lost everything.
 */
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

/** The Docker host of this deployment, and the one of the last. */
export interface Where {
  /** `togather:host`; empty: not set. */
  setting: string;
  /** The address for the Docker plugin. Undefined: this machine's engine. */
  wanted: string | undefined;
  /** The address of the run that wrote the state. */
  recorded: string | undefined;
}

/** The problem of a host that has nothing of what the state contains. */
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

/**
 * Whether the host has objects of the deployment other than containers.
 * @throws when the host does not answer.
 */
async function hasVolumes({ name, host }: Pick<Settings, "name" | "host">): Promise<boolean> {
  const { ok, stdout } = await tryDocker(["volume", "ls", "--quiet", `--filter=label=${labels.name}=${name}`], {
    host,
  });
  return !ok || stdout.trim() !== "";
}

/** Whether the host has nothing of what the state contains. */
export async function isElsewhere(
  { ids }: Pick<HostNow, "ids">,
  { ids: known, containers, dockerHost }: Pick<InterruptedState, "ids" | "containers" | "dockerHost">,
  wanted: string | undefined,
  keepsVolumes: () => Promise<boolean>,
): Promise<boolean> {
  const there = Object.values(ids);
  if (containers.length === 0 || there.some((id) => known.has(id))) return false;
  // Containers of the same name that the state does not know are another problem, where the host is the same.
  if (dockerHost !== wanted) return true;
  return there.length === 0 && !(await keepsVolumes());
}

/**
 * Refuses a Docker host that has nothing of what Pulumi's state contains. Pulumi would continue as if everything were
 * there; after a refresh it would forget containers and data that are still on the earlier host.
 * @throws {RunError} that names both hosts, and the solutions.
 */
export async function refuseElsewhere(
  settings: Pick<Settings, "name" | "host">,
  now: Pick<HostNow, "ids">,
  asked: Interrupted,
  env: NodeJS.ProcessEnv,
): Promise<void> {
  // A preview need not read the state where containers exist.
  const state = isDryRun() ? (Object.keys(now.ids).length === 0 ? await askState() : undefined) : await asked;
  if (state === undefined) return;
  const { host: setting } = settings;
  const variable = env["DOCKER_HOST"] ?? "";
  const wanted = setting !== "" ? setting : (contextAddress(env) ?? (variable === "" ? undefined : variable));
  if (!(await isElsewhere(now, state, wanted, () => hasVolumes(settings)))) return;
  throw toRunError(new SettingsError([elsewhereProblem({ setting, wanted, recorded: state.dockerHost })]));
}
