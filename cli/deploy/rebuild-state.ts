import type { StepRequest } from "../../ops/contract/steps.ts";
import type { HostReport } from "../host/look.ts";
import { Failure } from "../failure.ts";
import type { PlainSettings } from "../stack-file.ts";
import type { StackOutputs } from "./pulumi-stack.ts";
import { stepCommand } from "./step-command.ts";

/**
 * The request to `record` for a deployment whose state was lost: the slot that serves by the router's own answer, and
 * the releases in the slots.
 */
export function recordOf(
  settings: PlainSettings,
  { router, slots }: HostReport,
  { deploymentId }: StackOutputs,
): StepRequest<"record"> | undefined {
  const activeSlot = router.slot;
  const release = activeSlot && slots[activeSlot].release;
  if (activeSlot === undefined || release === undefined || deploymentId === undefined) return undefined;
  const held = Object.entries(slots).flatMap(([slot, report]) =>
    report.release === undefined ? [] : [[slot, report.release] as const],
  );
  const { name, environment, stateLocation, logLocation, logRetention } = settings;
  return {
    contract: 1,
    name,
    environment,
    stateLocation,
    logLocation,
    deploymentId,
    activeSlot,
    release,
    slots: Object.fromEntries(held),
    logRetention,
  };
}

/**
 * Writes deployment-state.json again from the running containers, without touching them.
 * @throws {Failure} with the error of `record`.
 */
export async function rebuildState(request: StepRequest<"record">, host: string): Promise<void> {
  const { args, options } = stepCommand("record", request, host);
  // Loaded here: most commands never need it.
  const { execa } = await import("execa");
  const { failed, stderr } = await execa(process.execPath, args, options);
  if (failed)
    throw new Failure(
      "other",
      `the deployment serves, but ${request.stateLocation}/deployment-state.json was lost and can't be written again: ${stderr.trim()}`,
    );
}
