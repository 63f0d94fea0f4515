/** `task`: an operator's command before traffic moves to a release. A failed task stops the release. */
import { join } from "node:path";
import type { CommandContext } from "../../contract/context.ts";
import type { StepRequest, StepResult } from "../../contract/steps.ts";
import { StepError } from "../../contract/errors.ts";
import { readSlotFile } from "../traffic/slot-file.ts";
import { isProved, printsIn } from "../../contract/slot-file.ts";
import { StateStore } from "../history/state-store.ts";
import { runTask, taskError } from "../release/tasks.ts";
import { seconds } from "../../contract/units.ts";

export async function run(request: StepRequest<"task">, context: CommandContext): Promise<StepResult<"task">> {
  const { task, slot, release } = request;
  const { log, paths, env } = context;
  const current = await new StateStore(paths.state).current().catch(() => undefined);
  if (current?.deployment_id === request.deploymentId && current.status === "succeeded") {
    const skipped = `deployment ${request.deploymentId} is over: it is run with the next one`;
    log.info(`task ${task.name}: not run, ${skipped}`);
    return { skipped, durationMs: 0 };
  }
  const router = await readSlotFile(join(paths.router, "state", "slot.json"));
  if (router !== undefined && isProved(router.state, slot, release, printsIn(env))) {
    const skipped = `${release.version} in ${slot} has served before`;
    log.info(`task ${task.name}: not run, ${skipped}: a rollback is to be quick`);
    return { skipped, durationMs: 0 };
  }
  const end = await runTask(task, { slot }, context);
  if (end.problem !== undefined) {
    const { message } = taskError(task.name, end, ", before the switch; traffic stays where it is");
    throw new StepError(message, { hint: "the same command again runs it again; it stands in togather:source.tasks" });
  }
  log.info(`task ${task.name}: done in ${seconds(end.durationMs)}`);
  return { skipped: null, durationMs: end.durationMs };
}
