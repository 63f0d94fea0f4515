/**
 * Records a failure of the client itself, such as an image that can't be built: no step in a container has recorded it.
 */
import type { StepContext } from "../contract/context.ts";
import type { StepName, StepRequest } from "../contract/steps.ts";
import type { Redactor } from "../contract/redact.ts";
import { hostLockHolder } from "../host/host-lock.ts";
import { runStep } from "./run-step.ts";

/** Longest time for this record and for the operator's failure command, which has a minute, in ms. */
const longestMs = 75_000;

/**
 * Records in the history why a deployment has failed. The deployment's lock knows the history's directory. Best effort:
 * without a lock (the step was run by itself), or where the Docker host does not answer, nothing can be recorded.
 */
export async function noteFailure(
  step: StepName,
  request: StepRequest<StepName>,
  error: string,
  about: { context: StepContext; redactor: Redactor; show: (line: string) => void },
): Promise<void> {
  const { name, environment } = request;
  // Without this image no step runs in a container, and there is no deployment yet.
  if ("source" in request && "image" in request.source && request.source.image === "ops") return;
  const directories = (await hostLockHolder(name, ""))?.directories;
  if (directories === undefined) return;
  const release = "release" in request ? request.release : undefined;
  const slot = "slot" in request ? request.slot : undefined;
  const own = {
    contract: 1 as const,
    name,
    environment,
    ...directories,
    phase: step,
    ...(slot === undefined ? {} : { slot }),
    ...(release === undefined ? {} : { version: release.version }),
    error: about.redactor.text(error),
  };
  const signal = AbortSignal.timeout(longestMs);
  await runStep({
    step: "fail",
    request: own,
    context: { ...about.context, signal },
    redactor: about.redactor,
    show: () => undefined,
    showFailureCommand: about.show,
    stopMs: 1_000,
  });
}
