/** Back to the release before, and to the database before its successor's migrations. */
import { confirm } from "../confirm.ts";
import { beforeNow, type DeployContext } from "../context.ts";
import { deploy } from "../deploy/deploy.ts";
import type { Deployment } from "../deploy/deployment.ts";
import { plainSetting } from "../../config/release.ts";
import { describeRelease, otherSlot } from "../../ops/contract/release.ts";
import type { Rollback } from "../deploy/rollback-target.ts";
import { exitCodes } from "../exit-codes.ts";
import { Failure } from "../failure.ts";
import { entriesOf } from "../host/entries.ts";
import { canServe, look } from "../host/look.ts";
import { Collected, invocation } from "../output.ts";
import { StackFile } from "../stack-file.ts";
import { project } from "../../toolchain/setup.ts";
import { findSnapshot, listSnapshots, snapshotBefore } from "./catalog.ts";
import { databaseSecrets } from "./host-step.ts";
import { withHostLock } from "./host-lock.ts";
import { assess, lossText, swapIn, type RestoreJob } from "./restore.ts";

export interface DatabaseRollback {
  context: DeployContext;
  rollback: Rollback;
  /** A snapshot of the operator's choice, instead of the one from before the release's migrations. */
  chosen: string | undefined;
  dryRun: boolean;
  yes: boolean;
  /** River's jobs that were queued then are put on hold. */
  holdJobs: boolean;
  force: boolean;
}

/**
 * Traffic first where the older release works with the schema as it is, so that it is back at once; the database first where it
 * does not. Then the slot of the release that is given up is emptied: its migrations are undone, and it would be taken for migrated.
 */
export async function rollBackWithDatabase({
  context: given,
  rollback,
  chosen,
  dryRun,
  yes,
  force,
  holdJobs,
}: DatabaseRollback): Promise<number> {
  const output = new Collected(given.output.json);
  let context: DeployContext = { ...given, output };
  const { file, settings, before, pulumi } = context;
  const on = `--stack ${file.stack}`;
  // Traffic is where it is to be.
  const goesOn = rollback.activeSlot === before.serving?.slot;
  // Where a release failed, its slot holds again what it held before.
  const empties = !goesOn || rollback.done !== undefined;
  const givenUpSlot = otherSlot(rollback.activeSlot);
  const pending = settings.slots[givenUpSlot];
  const givenUp = rollback.done ?? (goesOn ? pending && plainSetting(pending) : before.serving?.release);
  // The release that serves goes on, and nothing is put right in the other slot.
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
  const { secrets, schemaVersions } = await databaseSecrets(pulumi);
  const snapshots = await listSnapshots(settings);
  const needs = schemaVersions[rollback.activeSlot];
  const snapshot =
    chosen === undefined
      ? snapshotBefore(snapshots, { target, givenUp, needs, history: entriesOf(await look(settings)) })
      : findSnapshot(snapshots, chosen, `snapshots list ${on}`);
  if (snapshot === undefined)
    throw new Failure(
      "config",
      `there is no snapshot of the database as ${describeRelease(target)} had it, from before the migrations of ${describeRelease(givenUp)}${needs === undefined || needs === null ? "" : ` (schema version ${needs})`}. Nothing was changed.`,
      `${invocation(`snapshots list ${on}`)}, then --restore-database ID`,
    );
  // One lock from the first look to the end: what was assessed and confirmed is what is replaced.
  return withHostLock(
    { settings, stack: file.stack, before, output, force, why: `rollback with ${snapshot.id}` },
    async (signal, lock) => {
      const job = (): RestoreJob => ({ context, snapshot, options: { yes, foreign: false, force, holdJobs } });
      const stopped = (what: string): void => {
        if (signal.aborted)
          throw new Failure(
            "interrupted",
            `stopped (${String(signal.reason)}). ${what}`,
            invocation(`rollback --restore-database ${snapshot.id} ${on}`),
          );
      };
      const found = await assess(job(), secrets, signal, { keep: !dryRun });
      if (needs !== undefined && needs !== null && needs > (found.schema.snapshot ?? 0)) {
        throw new Failure(
          "config",
          `${rollback.activeSlot} needs schema version ${needs}, the snapshot ${snapshot.id} has ${found.schema.snapshot ?? "none"}. Nothing was changed.`,
          invocation(`snapshots list ${on}`),
        );
      }
      // Cut short between traffic and the database, it goes on with the database; after its end there is nothing that a second one undoes.
      if (rollback.done !== undefined && found.schema.now === found.schema.snapshot) {
        given.output.result(
          { ok: true, dryRun, snapshot: snapshot.id, restored: null },
          () =>
            `Nothing to do: the database has schema version ${found.schema.now ?? "none"}, as ${describeRelease(target)} had it. To put back its data all the same:\n  → ${invocation(`snapshots restore ${snapshot.id} ${on}`)}`,
        );
        return exitCodes.ok.code;
      }
      output.say(lossText(found));
      const { slots } = await look(settings);
      const trafficFirst = goesOn || canServe(slots[rollback.activeSlot].health);
      output.say(
        `${trafficFirst ? "First traffic, then the database" : "First the database, then traffic, since the older release is not healthy with the schema as it is"}${empties ? `; then ${givenUpSlot} is emptied` : ""}.`,
      );
      if (dryRun) {
        given.output.result(
          { ok: true, dryRun: true, snapshot: snapshot.id, trafficFirst, ...found },
          () => "Nothing was changed.",
        );
        return exitCodes.ok.code;
      }
      await confirm(`Give up ${describeRelease(givenUp)} and restore ${snapshot.id} into ${file.stack}?`, {
        yes,
        output,
      });

      const run = async (change: (file: StackFile) => void): Promise<number> => {
        const fresh = StackFile.open(project, file.stack);
        change(fresh);
        fresh.save();
        context = { ...context, file: fresh, settings: fresh.settings(), before: await beforeNow(pulumi, settings) };
        const deployment: Deployment = {
          ...context,
          dryRun: false,
          skipMigrations: false,
          force,
          within: { lock, signal },
        };
        return deploy(deployment);
      };
      const flip = (): Promise<number> =>
        run((stack) => {
          if (rollback.restore) stack.setSlot(rollback.restore.slot, rollback.restore.release);
          stack.setActiveSlot(rollback.activeSlot);
        });
      const swap = async (): Promise<Awaited<ReturnType<typeof swapIn>>> => {
        try {
          return await swapIn(job(), found, secrets, signal);
        } catch (error) {
          if (!(error instanceof Failure)) throw error;
          throw new Failure(
            error.ending,
            `${error.message}\n${trafficFirst ? `Traffic is on ${rollback.activeSlot}; the database is as it was.` : "Nothing was changed."}`,
            trafficFirst
              ? `once that is right: ${invocation(`rollback --restore-database ${snapshot.id} ${on}`)}`
              : undefined,
          );
        }
      };

      let code: number = exitCodes.ok.code;
      stopped("Nothing was changed.");
      if (trafficFirst && rollback.done === undefined) code = await flip();
      if (code !== 0) {
        output.say("The database was not touched.");
        return code;
      }
      stopped(`Traffic is on ${rollback.activeSlot}; the database is as it was.`);
      const restored = await swap();
      stopped(`The database is ${snapshot.id} now${trafficFirst ? "" : `; ${givenUpSlot} still serves`}.`);
      if (!trafficFirst) code = await flip();
      if (code === 0 && empties)
        code = await run((stack) => {
          stack.setSlot(givenUpSlot, undefined);
        });
      given.output.result(
        { ok: code === 0, exitCode: code, snapshot: snapshot.id, restored, deployments: output.results },
        () =>
          [
            `The database is ${snapshot.id} now: ${restored.rows} rows${restored.health === undefined ? "" : `; what serves is ${restored.health.status}`}.`,
            ...(restored.replaced === null
              ? []
              : [
                  `What it was before is kept as ${restored.replaced}. When nobody needs it any more:`,
                  `  → ${invocation(`snapshots discard ${restored.replaced} ${on}`)}`,
                ]),
          ].join("\n"),
      );
      return code;
    },
  );
}
