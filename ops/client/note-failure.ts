/** A failure of the client's own, such as an image that can't be built: no step in a container has written it down. */
import type { StepContext } from "../contract/context.ts";
import type { StepName, StepRequest } from "../contract/steps.ts";
import type { Redactor } from "../contract/redact.ts";
import { hostLockHolder } from "../host/host-lock.ts";
import { runStep } from "./run-step.ts";

/** Longest time that a failure is held up by its note, and by the operator's failure command, which has a minute. */
const longestMs = 75_000;

/**
 * Writes into the history why a deployment has failed; where it keeps its history its lock tells. Best effort: without a lock (the step was
 * run by itself), or where the Docker host does not answer, there is nothing to write it to.
 */
export async function noteFailure(
  step: StepName,
  request: StepRequest<StepName>,
  error: string,
  about: { context: StepContext; redactor: Redactor; show: (line: string) => void },
): Promise<void> {
  const { name, environment } = request;
  // Without this image there is no step in a container, and no deployment yet.
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
