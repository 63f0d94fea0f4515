import { areStale, describeLock, isLocked, locksIn } from "./backend-lock.ts";
import type { Deployment } from "./deployment.ts";
import type { Interrupts } from "./interrupts.ts";
import { saysTooLong } from "./long-output.ts";
import { PhaseTracker } from "./phases.ts";
import { Progress } from "./progress.ts";
import type { RunEnd } from "./pulumi-stack.ts";

/**
 * Runs Pulumi for a deployment and shows its progress. Obstacles of a killed run (Pulumi's own lock, output that is too
 * long for a step to start) are removed, and Pulumi runs once more.
 * @param refresh refresh all resources first.
 * @param redact removes secrets from the output.
 */
export async function runPulumi(
  deployment: Deployment,
  interrupts: Interrupts,
  refresh: boolean,
  redact: (text: string) => string,
): Promise<{ end: RunEnd; tracker: PhaseTracker }> {
  const { pulumi, output, dryRun, within } = deployment;
  const tracker = new PhaseTracker();
  const progress = new Progress(tracker.phases, output.stream, redact);
  interrupts.onFirst = (signal) => {
    progress.say(`${signal}: stopping after what is being done now. Please wait.`);
    tracker.interrupt();
  };
  interrupts.onMore = () => {
    progress.say("Still stopping: a second signal would leave resources half-made. Please wait.");
  };
  const once = (): Promise<RunEnd> =>
    withOverrides(deployment, (configFile) =>
      pulumi.run(dryRun ? "preview" : "up", {
        configFile,
        signal: interrupts.signal,
        lock: within?.lock,
        refresh,
        onEvent: (event) => {
          const phase = tracker.add(event);
          if (phase && !dryRun) progress.changed(phase);
        },
      }),
    );
  try {
    let end = await once();
    if (!end.ok && !dryRun && (await removeStaleLock(deployment, tracker, end))) end = await once();
    if (end.refused === "unread" && !dryRun && (await restorePorts(deployment, tracker, progress))) end = await once();
    if (!end.ok && !dryRun && (await shortenOutput(deployment, tracker, progress, end))) end = await once();
    if (end.ok && !dryRun && tracker.clearedPending()) await pulumi.clearPending();
    return { end, tracker };
  } finally {
    tracker.finish();
    if (!dryRun) progress.end();
    else progress.cancel();
  }
}

/**
 * Runs with a copy of the stack file that has the options of this run only. A dry run's file is never saved, and always
 * a copy.
 */
function withOverrides(
  { file, dryRun, force, skipMigrations, again }: Deployment,
  use: (configFile?: string) => Promise<RunEnd>,
): Promise<RunEnd> {
  if (!dryRun && !force && !skipMigrations && again === undefined) return use();
  const once = file.copy();
  if (force) once.override("force", true);
  if (skipMigrations) once.override("skipMigrations", true);
  if (again !== undefined) once.override("releaseAgain", again);
  return once.withCopy(use);
}

/** @returns whether Pulumi's lock belonged to a dead process, and was removed. */
async function removeStaleLock(
  { file, pulumi, within }: Deployment,
  tracker: PhaseTracker,
  end: RunEnd,
): Promise<boolean> {
  if (!isLocked(end.said)) return false;
  const locks = locksIn(end.said);
  if (!(await areStale(locks, file.settings(), within?.lock !== undefined))) return false;
  await pulumi.unlock(locks);
  tracker.diagnostics.warnings.push(
    `Removed Pulumi's lock of ${locks.map(describeLock).join(", ")}: that process is gone, and nobody deploys on the Docker host.`,
  );
  return true;
}

/** @returns whether the state lacked ports of containers that did not run when Pulumi read them, and has them again. */
async function restorePorts({ file, pulumi }: Deployment, tracker: PhaseTracker, progress: Progress): Promise<boolean> {
  const containers = await pulumi.restorePorts(file.settings().host);
  if (containers.length === 0) return false;
  progress.say(
    `Pulumi had read ${containers.join(" and ")} while it did not run, without its ports, and would make it anew for them. The state has them again. Once more:`,
  );
  tracker.retry();
  return true;
}

/** @returns whether the state had output that is too long for a step to start, and has it no more. */
async function shortenOutput(
  { pulumi }: Deployment,
  tracker: PhaseTracker,
  progress: Progress,
  end: RunEnd,
): Promise<boolean> {
  const said = [end.said, ...tracker.diagnostics.errors, ...(tracker.failed?.errors ?? [])];
  if (!said.some(saysTooLong)) return false;
  const shortened = await pulumi.shortenOutput();
  if (shortened.length === 0) return false;
  progress.say(
    `Pulumi's state held more output of ${shortened.join(", ")} than a program can be started with. It is taken out; the deployments' logs have it. Once more:`,
  );
  tracker.retry();
  return true;
}
