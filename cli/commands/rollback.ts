import type { Command } from "commander";
import { preload, readContext, stackContext, withDeployOptions, type DeployOptions } from "../context.ts";
import { awaitingLock } from "../deploy/await-lock.ts";
import { requested, type Deployment } from "../deploy/deployment.ts";
import { deploy } from "../deploy/deploy.ts";
import { rollbackTarget } from "../deploy/rollback-target.ts";
import { refuseUnlessKept } from "../deploy/kept-release.ts";
import { refuseWithoutSlots } from "../development/refuse.ts";
import { Failure } from "../failure.ts";
import { entriesOf, type Entry } from "../host/entries.ts";
import { look } from "../host/look.ts";
import { invocation } from "../output.ts";
import { otherSlot } from "../../ops/contract/release.ts";
import { rollBackWithDatabase } from "../snapshots/rollback.ts";

interface RollbackOptions extends DeployOptions {
  to?: string;
  restoreDatabase?: string | true;
  yes?: boolean;
  holdJobs?: boolean;
}

/** A deployment of the history, by its id or the beginning of its id. */
function find(history: readonly Entry[], id: string, stack: string): Entry {
  const found = history.filter((entry) => entry.id.startsWith(id));
  const [entry] = found;
  if (entry !== undefined && found.length === 1) return entry;
  throw new Failure(
    "config",
    entry === undefined
      ? `the history of ${stack} has no deployment ${id}`
      : `${id} is the beginning of ${found.length} deployments`,
    invocation(`history --stack ${stack}`),
  );
}

export function rollbackCommand(program: Command, end: (code: number) => void): void {
  withDeployOptions(program.command("rollback"))
    .summary("move traffic back to the other slot, or give up a release that failed")
    .description(
      "After a release: flips activeSlot back and deploys. No image, database or container is touched; the schema stays as it is. After a release that failed: gives it up, so that the file says again what serves.",
    )
    .option(
      "--to <id>",
      "deployment to go back to, see history; a release that is in neither slot is put into the idle one again, if its image is kept",
    )
    .option(
      "--restore-database [snapshot]",
      "also restore the database from before the release's migrations; what was written since is lost",
    )
    .option("-y, --yes", "don't ask before the database is replaced")
    .option("--hold-jobs", "with --restore-database: hold restored jobs until you release them")
    .action(async (_options, command: Command) => {
      const options = command.optsWithGlobals<RollbackOptions>();
      const takes = options.restoreDatabase !== undefined;
      end(await awaitingLock(options, "rollback", (within) => rollBack(options, within), { takes }));
    });
}

/** @returns the exit code. */
async function rollBack(options: RollbackOptions, within: Deployment["within"]): Promise<number> {
  const read = await readContext(options);
  refuseWithoutSlots("rollback", read.file, read.settings);
  // The host and Pulumi at the same time; Pulumi's error comes first where both fail.
  const looking = look(read.settings, preload);
  looking.catch(() => undefined);
  const context = await stackContext(options, read);
  const { file, settings, before, output } = context;
  const report = await looking;
  const history = entriesOf(report);
  const target = options.to === undefined ? undefined : find(history, options.to, file.stack);
  const rollback = rollbackTarget(settings, before, file.stack, {
    target,
    history,
    served: report.router.persisted?.served,
  });
  const { done } = rollback;
  // A rollback with its database ends with the emptied slot.
  const over = done !== undefined && settings.slots[otherSlot(rollback.activeSlot)] === undefined;
  output.say(
    done === undefined
      ? `Rolling back: ${rollback.sentence}.`
      : `No release to roll back: ${rollback.sentence}.${over ? "" : `\n  → to go forward to it again: ${invocation(`rollback --to ${done.id} --stack ${file.stack}`)}`}`,
  );
  if (rollback.kept !== undefined) {
    if (options.restoreDatabase !== undefined)
      throw new Failure(
        "config",
        `${rollback.kept.version} of ${rollback.kept.id} is in neither slot any more: --restore-database goes back to the release in the other slot. Nothing was changed.`,
        `${invocation(`rollback --restore-database --stack ${file.stack}`)}; or ${invocation(`snapshots list --stack ${file.stack}`)}, and a release with what its database had`,
      );
    await refuseUnlessKept(context, rollback.kept, history);
  }
  if (options.restoreDatabase !== undefined && !over) {
    const chosen = options.restoreDatabase === true ? undefined : options.restoreDatabase;
    return rollBackWithDatabase({
      context,
      rollback,
      chosen,
      history,
      dryRun: options.dryRun === true,
      yes: options.yes === true,
      force: options.force === true,
      holdJobs: options.holdJobs === true,
    });
  }
  if (rollback.restore) file.setSlot(rollback.restore.slot, rollback.restore.release);
  file.setActiveSlot(rollback.activeSlot);
  if (options.dryRun !== true) file.save();
  return deploy(requested(context, options, within));
}
