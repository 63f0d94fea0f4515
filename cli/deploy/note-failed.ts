import { slotNames, type StepRequest } from "../../ops/contract/steps.ts";
import type { PlainSettings } from "../stack-file.ts";
import type { PhaseName, PhaseRun } from "./phases.ts";
import { stepCommand } from "./step-command.ts";

/** Phases without a step of ours, or with other resources: no step records their failure. */
const ownless: readonly PhaseName[] = ["network", "database", "router", "build", "pull", "container"];

/**
 * Records in the host's history that a deployment failed, and its failed phase. Phases that have not ended count as
 * interrupted. Best effort.
 */
export async function noteFailed(
  { name, environment, stateLocation, logLocation, host }: PlainSettings,
  deploymentId: string,
  failed: Pick<PhaseRun, "phase" | "subject">,
  error: string,
): Promise<void> {
  if (!ownless.includes(failed.phase)) return;
  const slot = slotNames.find((one) => one === failed.subject);
  const request: StepRequest<"fail"> = {
    contract: 1,
    name,
    environment,
    stateLocation,
    logLocation,
    deploymentId,
    phase: failed.phase,
    ...(slot === undefined ? {} : { slot }),
    error,
  };
  const { args, options } = stepCommand("fail", request, host);
  // Loaded here: most commands never need it.
  const { execa } = await import("execa");
  await execa(process.execPath, args, { ...options, timeout: 20_000 });
}
