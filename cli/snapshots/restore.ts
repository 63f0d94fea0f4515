/** Replaces the live database by a snapshot: examines it, asks, restores it, and checks the servers. */
import { containerName } from "../../ops/contract/names.ts";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { slotNames, type SlotName, type StepResult } from "../../ops/contract/steps.ts";
import { releaseJobs } from "../../ops/contract/job-queue.ts";
import { project } from "../../toolchain/setup.ts";
import { confirm } from "../confirm.ts";
import { beforeNow, type DeployContext } from "../context.ts";
import { deploy } from "../deploy/deploy.ts";
import type { Deployment } from "../deploy/deployment.ts";
import { plainSetting } from "../../config/release.ts";
import { describeRelease, isSameRelease } from "../../ops/contract/release.ts";
import { exitCodes } from "../exit-codes.ts";
import { Failure } from "../failure.ts";
import { look, type Health } from "../host/look.ts";
import { at, Collected, columns, invocation } from "../output.ts";
import { StackFile } from "../stack-file.ts";
import type { ListedSnapshot } from "./catalog.ts";
import { databaseSecrets, runHostStep, type DatabaseSecrets } from "./host-step.ts";
import { withHostLock } from "./host-lock.ts";

export interface RestoreOptions {
  yes: boolean;
  /** Accept a snapshot of another deployment or environment. */
  foreign: boolean;
  /** Ignore a lock, and a schema that is too old for the release that serves. */
  force: boolean;
  /** Put River's jobs that were queued in the snapshot on hold. */
  holdJobs: boolean;
}

type Restored = StepResult<"restore">;

/** Time for servers to reconnect to their database, in ms. */
const reconnectMs = 30_000;

/** Losses that no count includes. */
const limitsOf: Record<Restored["counted"], readonly string[]> = {
  exact: [],
  "without-open": [
    "An older version of this project took it: what transactions wrote that were open at that moment, and ended later, is lost too and not counted.",
  ],
  "rows-only": ["It is of another database, or older than can be told: changed rows are lost too and not counted."],
};

/** The losses of a restore, table by table. */
export function lossText({ lost, counted, jobs, schema, time, beforeVersion, reason, rows }: Restored): string {
  const taken = reason === undefined ? `before ${beforeVersion}` : `while ${beforeVersion} served (${reason})`;
  const lines = [
    `The snapshot of ${at(time)}, ${taken}, has ${rows} rows, schema version ${schema.snapshot ?? "none"}. The database now has schema version ${schema.now ?? "none"}.`,
  ];
  if (lost.length === 0)
    lines.push(
      counted === "exact"
        ? "No table differs from it: nothing was written since."
        : "As far as can be told, no table differs from it.",
    );
  else
    lines.push(
      "What was written since is lost to the servers (it stays in the database that is replaced):",
      lossTable(lost, "NOW"),
    );
  return [...lines, ...limitsOf[counted], ...jobsText(jobs)].join("\n");
}

/** Jobs that servers would run again. */
function jobsText(jobs: Restored["jobs"]): string[] {
  if (jobs === null || (jobs.queued === 0 && jobs.doneSince === 0)) return [];
  const queued = jobs.queued === null ? "Jobs that were queued then" : `${jobs.queued} jobs were queued then; those`;
  return [
    `${queued} that are done since (${jobs.doneSince} are known to be) are done again: mails are sent again, for instance. --hold-jobs keeps all of them from being worked until you say so.`,
  ];
}

/** Instructions to release jobs that were put on hold. Undefined: there are none. */
export function heldText({ jobs, database }: Restored, name: string): string | undefined {
  if (jobs === null || jobs.held === 0) return undefined;
  const where =
    database === "togather"
      ? `docker exec -u postgres ${containerName(name, "database")} psql -d ${database} -c "${releaseJobs}"`
      : `in the database ${database}: ${releaseJobs};`;
  return `${jobs.held} jobs that were queued then are on hold (state pending). To have them worked:\n  → ${where}`;
}

function lossTable(lost: Restored["lost"], now: string): string {
  const cell = (value: number | null, none: string): string => (value === null ? none : String(value));
  return columns([
    ["TABLE", "IN THE SNAPSHOT", now, "INSERTED OR CHANGED SINCE"],
    ...lost.map((row) => [
      row.table,
      cell(row.snapshot, "no table"),
      cell(row.now, "no table"),
      cell(row.written, "can't be told"),
    ]),
  ]);
}

/**
 * The final losses, where they exceed the confirmed ones: servers go on writing while the snapshot is loaded.
 * Undefined: they don't.
 */
export function lostMeanwhile(before: Restored, { lost, replaced }: Restored): string | undefined {
  if (replaced === null || isDeepStrictEqual(before.lost, lost)) return undefined;
  return `Servers went on writing while the snapshot was loaded. What is lost to them in the end (it is in ${replaced}):\n${lossTable(lost, "AT THE SWAP")}`;
}

/** Waits until the slot that serves is healthy again. */
async function healthAfter({
  settings,
}: DeployContext): Promise<{ slot: SlotName | undefined; health: Health | undefined }> {
  const deadline = Date.now() + reconnectMs;
  for (;;) {
    const { router } = await look(settings);
    if (router.slot === undefined || router.health?.status === "healthy" || Date.now() > deadline)
      return { slot: router.slot, health: router.health };
    await sleep(1_000);
  }
}

/** Refuses a schema that the release that serves can't use. */
async function refuseOldSchema(
  context: DeployContext,
  snapshot: number | null,
  needs: Partial<Record<SlotName, number | null>>,
  id: string,
): Promise<void> {
  const { router, slots } = await look(context.settings);
  const needed = router.slot && needs[router.slot];
  if (router.slot === undefined || needed === null || needed === undefined || needed <= (snapshot ?? 0)) return;
  const { release } = slots[router.slot];
  const on = `--stack ${context.file.stack}`;
  throw new Failure(
    "config",
    `${release === undefined ? router.slot : describeRelease(release)} serves and needs schema version ${needed}, the snapshot has ${snapshot ?? "none"}. Nothing was changed.`,
    `${invocation(`rollback --restore-database ${id} ${on}`)} goes back to the release before it as well; or --force, then release the same commit again, which runs its migrations`,
  );
}

export interface RestoreJob {
  context: DeployContext;
  snapshot: ListedSnapshot;
  options: RestoreOptions;
}

function choiceOf({ context, snapshot, options }: RestoreJob): {
  backupLocation: string;
  file: string;
  foreign: boolean;
} {
  return { backupLocation: context.settings.backupLocation, file: snapshot.file, foreign: options.foreign };
}

/**
 * Proves the file and counts the losses of a restore, under the caller's lock.
 * @param keep the snapshot is about to be restored: it must not expire before that, even if a deployment takes another
 * one.
 */
export async function assess(
  job: RestoreJob,
  secrets: DatabaseSecrets,
  signal: AbortSignal,
  { keep }: { keep: boolean },
): Promise<Restored> {
  const { settings, output } = job.context;
  return runHostStep(
    "restore",
    { ...choiceOf(job), mode: "check", ...(keep ? { keep } : {}) },
    { settings, secrets, output, signal },
  );
}

/**
 * Restores the assessed snapshot, under the caller's lock, and waits until the servers have reconnected to their
 * database.
 */
export async function swapIn(
  job: RestoreJob,
  found: Restored,
  secrets: DatabaseSecrets,
  signal: AbortSignal,
): Promise<Restored & { health: Health | undefined }> {
  const { settings, output } = job.context;
  const restored = await runHostStep(
    "restore",
    { ...choiceOf(job), mode: "restore", ...(job.options.holdJobs ? { holdJobs: true } : {}) },
    { settings, secrets, output, signal },
  );
  const held = heldText(restored, settings.name);
  if (held !== undefined) output.say(held);
  const more = lostMeanwhile(found, restored);
  if (more !== undefined) output.warn(more);
  const { health, slot } = await healthAfter(job.context);
  if (slot !== undefined && health?.status !== "healthy")
    output.warn(
      `${slot} serves and is ${health?.status ?? "silent"}${health?.detail === undefined ? "" : `: ${health.detail}`}`,
    );
  return { ...restored, health };
}

/**
 * The idle slot whose release needs a newer schema than the snapshot's: it would count as migrated, although the
 * snapshot has undone its migrations.
 */
async function slotUndone(
  { settings }: DeployContext,
  snapshot: number | null,
  needs: Partial<Record<SlotName, number | null>>,
): Promise<SlotName | undefined> {
  const { router } = await look(settings);
  return slotNames.find(
    (slot) => slot !== router.slot && settings.slots[slot] !== undefined && (needs[slot] ?? 0) > (snapshot ?? 0),
  );
}

/**
 * Removes a release from its slot, so that releasing it again runs its migrations again.
 * @returns the exit code.
 */
async function empty(context: DeployContext, slot: SlotName, within: Deployment["within"]): Promise<number> {
  const { file, pulumi, settings, output } = context;
  const fresh = StackFile.open(project, file.stack);
  fresh.setSlot(slot, undefined);
  fresh.save();
  // A machine gets one document, the restore's.
  const quiet = new Collected(output.json);
  return deploy({
    ...context,
    output: quiet,
    file: fresh,
    before: await beforeNow(pulumi, settings),
    dryRun: false,
    skipMigrations: false,
    force: false,
    within,
  });
}

/**
 * A whole restore under one lock: examines, asks, restores. `code` is that of the deployment that empties a slot, where
 * there is one.
 */
export async function restore(
  job: RestoreJob,
): Promise<Restored & { health: Health | undefined; emptied: SlotName | null; code: number }> {
  const { context, options, snapshot } = job;
  const { settings, output, file, before, pulumi } = context;
  const { secrets, schemaVersions } = await databaseSecrets(pulumi);
  return withHostLock(
    { settings, stack: file.stack, before, output, force: options.force, why: `restore of ${snapshot.id}` },
    async (signal, lock) => {
      const found = await assess(job, secrets, signal, { keep: true });
      if (!options.force) await refuseOldSchema(context, found.schema.snapshot, schemaVersions, snapshot.id);
      output.say(lossText(found));
      const undone = await slotUndone(context, found.schema.snapshot, schemaVersions);
      // A restore must not deploy other pending changes of the file.
      const isSettled = (slot: SlotName): boolean => {
        const wanted = settings.slots[slot];
        return (
          settings.activeSlot === before.serving?.slot &&
          wanted !== undefined &&
          isSameRelease(plainSetting(wanted), before.slots[slot])
        );
      };
      const settled = undone !== undefined && isSettled(undone);
      if (undone !== undefined) {
        output.say(
          `The migrations of what ${undone} holds are undone by it (it needs schema version ${schemaVersions[undone] ?? "?"}): ${settled ? `then ${undone} is emptied, and releasing it again runs them again` : `take it out of togather:slots.${undone} in ${file.name} before the next deployment, and releasing it again runs them again`}.`,
        );
      }
      await confirm(`Restore ${snapshot.id} into ${file.stack}?`, { yes: options.yes, output });
      const restored = await swapIn(job, found, secrets, signal);
      const emptied = settled ? undone : null;
      const code = emptied === null ? exitCodes.ok.code : await empty(context, emptied, { lock, signal });
      return { ...restored, emptied, code };
    },
  );
}
