/** The plan of a rollback with its database: the release that is given up, the one that returns, and the snapshot. */
import { plainSetting } from "../../config/release.ts";
import { describeRelease, otherSlot } from "../../ops/contract/release.ts";
import type { Release, SlotName } from "../../ops/contract/steps.ts";
import type { DeployContext } from "../context.ts";
import type { Rollback } from "../deploy/rollback-target.ts";
import { Failure } from "../failure.ts";
import type { Entry } from "../host/entries.ts";
import { invocation } from "../output.ts";
import { findSnapshot, listSnapshots, snapshotBefore, type ListedSnapshot } from "./catalog.ts";
import { databaseSecrets, type DatabaseSecrets } from "./host-step.ts";

/** The two releases. */
interface Releases {
  /** The release that goes on serving, or returns. */
  target: Release;
  givenUp: Release;
  givenUpSlot: SlotName;
  /** Traffic is already in the right slot. */
  goesOn: boolean;
  /** The slot of the given-up release is emptied. After a failed release, its slot gets its former release instead. */
  empties: boolean;
}

export interface RollbackPlan extends Releases {
  snapshot: ListedSnapshot;
  /** The schema version that the target needs. Undefined or null: unknown. */
  needs: number | null | undefined;
  secrets: DatabaseSecrets;
}

/** @throws {Failure} where no release is given up, or there is none to go back to. */
function releasesOf({ file, settings, before }: DeployContext, rollback: Rollback): Releases {
  const on = `--stack ${file.stack}`;
  const goesOn = rollback.activeSlot === before.serving?.slot;
  const givenUpSlot = otherSlot(rollback.activeSlot);
  const pending = settings.slots[givenUpSlot];
  const givenUp = rollback.done ?? (goesOn ? pending && plainSetting(pending) : before.serving?.release);
  // The release that serves goes on, and the other slot needs no correction.
  if (goesOn && rollback.done === undefined && rollback.restore === undefined)
    throw new Failure(
      "config",
      `${rollback.sentence}: no release is given up, so there are no migrations to undo`,
      invocation(`snapshots restore ID ${on}`),
    );
  if (givenUp === undefined)
    throw new Failure(
      "config",
      `${givenUpSlot} holds no release, so there is none to give up with its database`,
      invocation(`snapshots restore ID ${on}`),
    );
  const target = goesOn ? before.serving?.release : before.slots[rollback.activeSlot];
  if (target === undefined)
    throw new Failure("config", `${rollback.activeSlot} holds no release to go back to`, invocation(`history ${on}`));
  return { target, givenUp, givenUpSlot, goesOn, empties: !goesOn || rollback.done !== undefined };
}

/**
 * @param chosen a snapshot chosen by the operator, instead of the one from before the release's migrations.
 * @param history earlier deployments, the newest first.
 * @throws {Failure} where there is nothing to give up, nothing to go back to, or no such snapshot.
 */
export async function planRollback(
  context: DeployContext,
  rollback: Rollback,
  { chosen, history }: { chosen: string | undefined; history: readonly Entry[] },
): Promise<RollbackPlan> {
  const { file, settings, pulumi } = context;
  const releases = releasesOf(context, rollback);
  const { target, givenUp } = releases;
  const on = `--stack ${file.stack}`;
  const { secrets, schemaVersions } = await databaseSecrets(pulumi);
  const snapshots = await listSnapshots(settings);
  const needs = schemaVersions[rollback.activeSlot];
  const snapshot =
    chosen === undefined
      ? snapshotBefore(snapshots, { target, givenUp, needs, history })
      : findSnapshot(snapshots, chosen, `snapshots list ${on}`);
  if (snapshot === undefined)
    throw new Failure(
      "config",
      `there is no snapshot of the database as ${describeRelease(target)} had it, from before the migrations of ${describeRelease(givenUp)}${needs === undefined || needs === null ? "" : ` (schema version ${needs})`}. Nothing was changed.`,
      `${invocation(`snapshots list ${on}`)}, then --restore-database ID`,
    );
  return { ...releases, snapshot, needs, secrets };
}
