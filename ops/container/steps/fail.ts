import type { CommandContext } from "../../contract/context.ts";
import type { StepRequest, StepResult } from "../../contract/steps.ts";
import { endPhase, startPhase } from "../history/deployment.ts";
import { tellOfFailure } from "../history/failure-command.ts";
import { StateStore } from "../history/state-store.ts";

/** Closes the open deployment as failed: phases that have not ended count as interrupted. */
export async function run(
  { deploymentId, phase, slot, version, error }: StepRequest<"fail">,
  context: CommandContext,
): Promise<StepResult<"fail">> {
  const store = new StateStore(context.paths.state);
  const current = await store.exclusively(() => store.current());
  if (current?.status !== "in_progress" || (deploymentId ?? current.deployment_id) !== current.deployment_id)
    return { deploymentId: null };
  const start = { step: phase, startedAt: new Date(), slot, version };
  await startPhase(store, start);
  await endPhase(store, start, { error });
  const log = context.openLog(current.deployment_id);
  log.error(error, { slot, version });
  log.close();
  await tellOfFailure(store, context);
  return { deploymentId: current.deployment_id };
}
