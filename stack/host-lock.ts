import { labels } from "../ops/contract/names.ts";
import { hostDirectories } from "../config/host-directories.ts";
import type { Settings } from "../config/settings.ts";
import { getEngine, getOrganization, getProject, getStack, isDryRun, log, RunError } from "../config/pulumi-runtime.ts";
import { Refusal } from "../config/refusal.ts";
import { toRunError } from "../config/run-error.ts";
import {
  hostLockHolder,
  isLockHeldAs,
  lockFile,
  takeHostLock,
  thisHolder,
  type LockHolder,
} from "../ops/host/host-lock.ts";
import { shortCommit } from "../ops/contract/release.ts";
import { plainReleases } from "../config/release.ts";

type Deployment = Pick<Settings, "name" | "host" | "force" | "activeSlot" | "slots" | "deployment">;

/**
 * Holds the lock of this deployment on its Docker host until the engine that runs this program is gone. A preview takes
 * no lock, and reports a running deployment. Without an engine (tests with mocks) nothing is deployed and nothing
 * locked.
 * @param heldAs the id of the lock that the command which runs this deployment holds for it.
 * @throws {Refusal} when somebody else holds it, unless `togather:force` is set.
 */
export async function holdHostLock(settings: Deployment, heldAs?: string): Promise<void> {
  const engine = engineAddress();
  if (engine === undefined) return;
  const { name, host, force, activeSlot, slots, deployment } = settings;
  if (isDryRun()) {
    void hostLockHolder(name, host).then((holder) => {
      if (holder !== undefined)
        void log.warn(`A deployment of ${name} is running: ${heldBy(holder)}. What it changes is not in this preview.`);
    });
    return;
  }
  if (heldAs !== undefined && (await isLockHeldAs(heldAs, name, host))) return;
  const stack = `${getOrganization()}/${getProject()}/${getStack()}`;
  const result = await takeHostLock({
    name,
    host,
    force,
    engine,
    holder: thisHolder({
      stack,
      active_slot: activeSlot,
      slots: plainReleases(slots),
      directories: hostDirectories(deployment, name),
    }),
    onWait: (why) => void log.info(`Waiting for the Docker host, which holds the lock: ${why}.`),
    onLost: (why) => {
      const lost = new RunError(
        `${lockFile(name)}: the lock on the Docker host is lost${why === "" ? "" : ` (${why})`}. Nothing new is begun; run pulumi up again, and it goes on from here.`,
      );
      // Pulumi shows the stack trace of an error that is thrown while it waits for a program's resources.
      lost.stack = lost.message;
      // Nobody catches this: it ends the program, and the engine starts no further operation.
      throw lost;
    },
  }).catch((error: unknown) => {
    throw toRunError(error);
  });
  if (result.held) return;
  if (!result.forced) throw new Refusal("lock", refusal(settings, result.holder));
  await log.warn(
    `FORCED: ${lockFile(name)} is held by somebody else, ${heldBy(result.holder)}. togather:force is set: two deployments of ${name} now run at once.`,
  );
}

/** Whether an engine runs this program. Tests with mocks have none: nothing is deployed there. */
export const hasEngine = (): boolean => engineAddress() !== undefined;

/** `address:port` of the engine that runs this program. Undefined: none. */
export function engineAddress(): string | undefined {
  // Pulumi's interface has only the calls; the client behind it is grpc's, which alone also knows the engine of an
  // inline program.
  const engine = getEngine() as { getChannel(): { getTarget(): string } } | undefined;
  return engine?.getChannel().getTarget().replace(/^dns:/, "");
}

function heldBy(holder: LockHolder | undefined): string {
  if (holder === undefined) return "who has left no name";
  return `${holder.held_by} (pid ${holder.pid}) since ${holder.since}, for ${purpose(holder)}`;
}

function purpose({ stack, active_slot, slots }: LockHolder): string {
  const releases = Object.entries(slots).map(
    ([slot, { version, commit }]) => `${slot} ${version} (${shortCommit(commit)})`,
  );
  return releases.length === 0
    ? `stack ${stack}, which has no slots`
    : `stack ${stack}: ${active_slot} is to serve; ${releases.join(", ")}`;
}

/** The reason why this deployment does not begin, and a hint. */
export function refusal({ name, host }: Pick<Deployment, "name" | "host">, holder: LockHolder | undefined): string {
  const docker = host === "" ? "docker" : `DOCKER_HOST=${host} docker`;
  return [
    `The deployment ${name} is locked: another one is running. Nothing was changed.`,
    `  held by: ${holder === undefined ? "somebody who has left no name, such as flock by hand" : `${holder.held_by}, pid ${holder.pid}, since ${holder.since}`}`,
    ...(holder === undefined ? [] : [`  for: ${purpose(holder)}`]),
    `  lock: ${lockFile(name)} on ${host === "" ? "the Docker host" : host}`,
    "  → wait until it has ended and run this again. The lock ends with the process that holds it, kill -9 included; removing the file frees nothing.",
    `  → if that machine can't be reached: ${docker} rm -f $(${docker} ps -q --filter label=${labels.lock}=${name})`,
    "  → to deploy beside it all the same: pulumi config set togather:force true",
  ].join("\n");
}
