/** A snapshot in the place of the live database: looked at, asked about, done, and the servers asked how they are. */
import { setTimeout as sleep } from "node:timers/promises";
import type { SlotName, StepResult } from "../../ops/contract.ts";
import { confirm } from "../confirm.ts";
import type { DeployContext } from "../context.ts";
import { describeRelease } from "../../config/plan.ts";
import { Failure } from "../failure.ts";
import { look, type Health } from "../host/look.ts";
import { at, columns, invocation } from "../output.ts";
import type { ListedSnapshot } from "./catalog.ts";
import { databaseSecrets, runHostStep, type DatabaseSecrets } from "./host-step.ts";
import { withHostLock } from "./host-lock.ts";

export interface RestoreOptions {
  yes: boolean;
  /** Also of another deployment or environment. */
  foreign: boolean;
  /** In spite of a lock, and of a schema that is too old for what serves. */
  force: boolean;
}

type Restored = StepResult<"restore">;

/** How long servers have to find their database again, in ms. */
const reconnectMs = 30_000;

/** What a restore takes away, table by table. */
export function lossText({ lost, schema, time, beforeVersion, rows }: Restored): string {
  const cell = (value: number | null, none: string): string => (value === null ? none : String(value));
  const lines = [`The snapshot of ${at(time)}, before ${beforeVersion}, has ${rows} rows, schema version ${schema.snapshot ?? "none"}. The database now has schema version ${schema.now ?? "none"}.`];
  if (lost.length === 0) lines.push("No table differs from it: nothing was written since.");
  else {
    lines.push("What was written since is lost to the servers (it stays in the database that is replaced):");
    lines.push(columns([["TABLE", "IN THE SNAPSHOT", "NOW", "INSERTED OR CHANGED SINCE"], ...lost.map(({ table, snapshot, now, written }) => [table, cell(snapshot, "no table"), cell(now, "no table"), cell(written, "can't be told")])]));
  }
  return lines.join("\n");
}

/** Waits until what serves is healthy again. */
async function healthAfter({ settings }: DeployContext): Promise<{ slot: SlotName | undefined; health: Health | undefined }> {
  const deadline = Date.now() + reconnectMs;
  for (;;) {
    const { router } = await look(settings);
    if (router.slot === undefined || router.health?.status === "healthy" || Date.now() > deadline) return { slot: router.slot, health: router.health };
    await sleep(1_000);
  }
}

/** Refuses a schema that what serves can't work with. */
async function refuseOldSchema(context: DeployContext, snapshot: number | null, needs: Partial<Record<SlotName, number | null>>, id: string): Promise<void> {
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
  /** Another release is about to serve, or serves already: the schema is that one's business. */
  schemaChecked: boolean;
}

function choiceOf({ context, snapshot, options }: RestoreJob): { backupLocation: string; file: string; foreign: boolean } {
  return { backupLocation: context.settings.backupLocation, file: snapshot.file, foreign: options.foreign };
}

/** Proves the file and counts what a restore would lose, under the lock of the caller. */
export async function assess(job: RestoreJob, secrets: DatabaseSecrets, signal: AbortSignal): Promise<Restored> {
  const { settings, output } = job.context;
  return runHostStep("restore", { ...choiceOf(job), mode: "check" }, { settings, secrets, output, signal });
}

/** The whole of it. `confirmed`: somebody has said yes to what would be lost. */
export async function restore(job: RestoreJob, confirmed = false): Promise<Restored & { health: Health | undefined }> {
  const { context, options, snapshot } = job;
  const { settings, output, file, before, pulumi } = context;
  const { secrets, schemaVersions } = await databaseSecrets(pulumi);
  const restored = await withHostLock({ settings, stack: file.stack, before, output, force: options.force, why: `restore of ${snapshot.id}` }, async (signal) => {
    if (!confirmed) {
      const found = await assess(job, secrets, signal);
      if (!job.schemaChecked && !options.force) await refuseOldSchema(context, found.schema.snapshot, schemaVersions, snapshot.id);
      output.say(lossText(found));
      await confirm(`Restore ${snapshot.id} into ${file.stack}?`, { yes: options.yes, output });
    }
    return runHostStep("restore", { ...choiceOf(job), mode: "restore" }, { settings, secrets, output, signal });
  });
  const { health, slot } = await healthAfter(context);
  if (slot !== undefined && health?.status !== "healthy") output.warn(`${slot} serves and is ${health?.status ?? "silent"}${health?.detail === undefined ? "" : `: ${health.detail}`}`);
  return { ...restored, health };
}
