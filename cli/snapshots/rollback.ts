/** Goes back to the previous release, and to the database from before its successor's migrations. */
import { describeRelease } from "../../ops/contract/release.ts";
import type { StepResult } from "../../ops/contract/steps.ts";
import { project } from "../../toolchain/setup.ts";
import { confirm } from "../confirm.ts";
import { beforeNow, type DeployContext } from "../context.ts";
import { deploy } from "../deploy/deploy.ts";
import type { Rollback } from "../deploy/rollback-target.ts";
import { exitCodes } from "../exit-codes.ts";
import { Failure } from "../failure.ts";
import type { Entry } from "../host/entries.ts";
import { canServe, look } from "../host/look.ts";
import { Collected, invocation } from "../output.ts";
import { StackFile } from "../stack-file.ts";
import { withHostLock, type HeldLock } from "./host-lock.ts";
import { assess, lossText, swapIn, type RestoreJob } from "./restore.ts";
import { planRollback, type RollbackPlan } from "./rollback-plan.ts";

export interface DatabaseRollback {
  context: DeployContext;
  rollback: Rollback;
  /** A snapshot chosen by the operator, instead of the one from before the release's migrations. */
  chosen: string | undefined;
  /** Earlier deployments that the command has found. */
  history: readonly Entry[];
  dryRun: boolean;
  yes: boolean;
  /** Put River's jobs that were queued in the snapshot on hold. */
  holdJobs: boolean;
  force: boolean;
}

/**
 * Traffic moves first where the older release works with the current schema, and is then back at once; otherwise the
 * database comes first. Then the slot of the given-up release is emptied: its migrations are undone, but it would count
 * as migrated.
 */
export async function rollBackWithDatabase(asked: DatabaseRollback): Promise<number> {
  const output = new Collected(asked.context.output.json);
  const context: DeployContext = { ...asked.context, output };
  const { file, settings, before } = context;
  const plan = await planRollback(context, asked.rollback, asked);
  const why = `rollback with ${plan.snapshot.id}`;
  // One lock from the first look to the end: the assessed and confirmed data are the ones that are replaced.
  return withHostLock({ settings, stack: file.stack, before, output, force: asked.force, why }, (signal, lock) =>
    new Run({ ...asked, context }, plan, { output, outer: asked.context.output, signal, lock }).all(),
  );
}

interface Around {
  /** Collects the results of its deployments for a machine. */
  output: Collected;
  /** The command's own output. */
  outer: DeployContext["output"];
  signal: AbortSignal;
  lock: HeldLock | undefined;
}

/** One such rollback, under the lock. */
class Run {
  private readonly asked: DatabaseRollback;
  private readonly plan: RollbackPlan;
  private readonly around: Around;
  /** The context after the last deployment. */
  private context: DeployContext;
  private readonly on: string;

  constructor(asked: DatabaseRollback, plan: RollbackPlan, around: Around) {
    this.asked = asked;
    this.plan = plan;
    this.around = around;
    this.context = asked.context;
    this.on = `--stack ${asked.context.file.stack}`;
  }

  /** @returns the exit code. */
  async all(): Promise<number> {
    const { rollback, dryRun, yes } = this.asked;
    const { target, givenUp, givenUpSlot, empties, snapshot } = this.plan;
    const { output, outer } = this.around;
    const found = await this.assess();
    // A run that was cut short between traffic and the database continues with the database. After a complete one,
    // nothing is left to undo.
    if (rollback.done !== undefined && found.schema.now === found.schema.snapshot) {
      outer.result(
        { ok: true, dryRun, snapshot: snapshot.id, restored: null },
        () =>
          `Nothing to do: the database has schema version ${found.schema.now ?? "none"}, as ${describeRelease(target)} had it. To put back its data all the same:\n  → ${invocation(`snapshots restore ${snapshot.id} ${this.on}`)}`,
      );
      return exitCodes.ok.code;
    }
    output.say(lossText(found));
    const { slots } = await look(this.context.settings);
    const trafficFirst = this.plan.goesOn || canServe(slots[rollback.activeSlot].health);
    output.say(
      `${trafficFirst ? "First traffic, then the database" : "First the database, then traffic, since the older release is not healthy with the schema as it is"}${empties ? `; then ${givenUpSlot} is emptied` : ""}.`,
    );
    if (dryRun) {
      outer.result(
        { ok: true, dryRun: true, snapshot: snapshot.id, trafficFirst, ...found },
        () => "Nothing was changed.",
      );
      return exitCodes.ok.code;
    }
    await confirm(`Give up ${describeRelease(givenUp)} and restore ${snapshot.id} into ${this.context.file.stack}?`, {
      yes,
      output,
    });
    return this.carryOut(found, trafficFirst);
  }

  /**
   * Counts the losses.
   * @throws {Failure} where the snapshot is too old for the release that returns.
   */
  private async assess(): Promise<StepResult<"restore">> {
    const { secrets, needs, snapshot } = this.plan;
    const found = await assess(this.restoreJob(), secrets, this.around.signal, { keep: !this.asked.dryRun });
    if (needs !== undefined && needs !== null && needs > (found.schema.snapshot ?? 0)) {
      throw new Failure(
        "config",
        `${this.asked.rollback.activeSlot} needs schema version ${needs}, the snapshot ${snapshot.id} has ${found.schema.snapshot ?? "none"}. Nothing was changed.`,
        invocation(`snapshots list ${this.on}`),
      );
    }
    return found;
  }

  private async carryOut(found: StepResult<"restore">, trafficFirst: boolean): Promise<number> {
    const { rollback } = this.asked;
    const { givenUpSlot, empties, snapshot } = this.plan;
    const { output, outer } = this.around;
    let code: number = exitCodes.ok.code;
    this.unlessStopped("Nothing was changed.");
    if (trafficFirst && rollback.done === undefined) code = await this.flip();
    if (code !== 0) {
      output.say("The database was not touched.");
      return code;
    }
    this.unlessStopped(`Traffic is on ${rollback.activeSlot}; the database is as it was.`);
    const restored = await this.swap(found, trafficFirst);
    this.unlessStopped(`The database is ${snapshot.id} now${trafficFirst ? "" : `; ${givenUpSlot} still serves`}.`);
    if (!trafficFirst) code = await this.flip();
    if (code === 0 && empties)
      code = await this.deployWith((stack) => {
        stack.setSlot(givenUpSlot, undefined);
      });
    outer.result({ ok: code === 0, exitCode: code, snapshot: snapshot.id, restored, deployments: output.results }, () =>
      [
        `The database is ${snapshot.id} now: ${restored.rows} rows${restored.health === undefined ? "" : `; what serves is ${restored.health.status}`}.`,
        ...(restored.replaced === null
          ? []
          : [
              `What it was before is kept as ${restored.replaced}. When nobody needs it any more:`,
              `  → ${invocation(`snapshots discard ${restored.replaced} ${this.on}`)}`,
            ]),
      ].join("\n"),
    );
    return code;
  }

  /**
   * @throws {Failure} where somebody has stopped it meanwhile.
   * @param what the current state, as a sentence.
   */
  private unlessStopped(what: string): void {
    const { signal } = this.around;
    if (signal.aborted)
      throw new Failure(
        "interrupted",
        `stopped (${String(signal.reason)}). ${what}`,
        invocation(`rollback --restore-database ${this.plan.snapshot.id} ${this.on}`),
      );
  }

  private restoreJob(): RestoreJob {
    const { yes, force, holdJobs } = this.asked;
    return {
      context: this.context,
      snapshot: this.plan.snapshot,
      options: { yes, foreign: false, force, holdJobs },
    };
  }

  /** Deploys a changed stack file. @returns the exit code. */
  private async deployWith(change: (file: StackFile) => void): Promise<number> {
    const { pulumi, settings } = this.asked.context;
    const { signal, lock } = this.around;
    const file = StackFile.open(project, this.context.file.stack);
    change(file);
    file.save();
    this.context = { ...this.context, file, settings: file.settings(), before: await beforeNow(pulumi, settings) };
    return deploy({
      ...this.context,
      dryRun: false,
      skipMigrations: false,
      force: this.asked.force,
      within: { lock, signal },
    });
  }

  private flip(): Promise<number> {
    const { rollback } = this.asked;
    return this.deployWith((stack) => {
      if (rollback.restore) stack.setSlot(rollback.restore.slot, rollback.restore.release);
      stack.setActiveSlot(rollback.activeSlot);
    });
  }

  private async swap(found: StepResult<"restore">, trafficFirst: boolean): Promise<Awaited<ReturnType<typeof swapIn>>> {
    try {
      return await swapIn(this.restoreJob(), found, this.plan.secrets, this.around.signal);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      throw new Failure(
        error.ending,
        `${error.message}\n${trafficFirst ? `Traffic is on ${this.asked.rollback.activeSlot}; the database is as it was.` : "Nothing was changed."}`,
        trafficFirst
          ? `once that is right: ${invocation(`rollback --restore-database ${this.plan.snapshot.id} ${this.on}`)}`
          : undefined,
      );
    }
  }
}
