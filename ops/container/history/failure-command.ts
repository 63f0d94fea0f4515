/** The operator's own command for a failed deployment: the request to the client that runs it, and when it is sent. */
import * as z from "zod";
import type { CommandContext } from "../../contract/context.ts";
import type { Current } from "../../contract/deployment-state.ts";
import { messageOf } from "../../contract/errors.ts";
import type { StateStore } from "./state-store.ts";
import type { failureQuestionSchema } from "../../contract/questions.ts";

/** Details of a failure that the command is given. */
export type Failure = Omit<z.infer<typeof failureQuestionSchema>, "do" | "command">;

/**
 * Whether the command has already been run for the current failure. Steps of both slots run side by side, and one cause
 * may stop several: all steps that had begun by then belong to the same failure. A step that began later is a new
 * failure.
 */
function isTold({ failure_told: told, failed_phase: failed, phases }: Current): boolean {
  if (typeof told !== "string") return told === true;
  const standing = phases.findLast(
    ({ phase, status }) => phase === failed && (status === "failed" || status === "rolled_back"),
  );
  return standing === undefined || standing.started_at <= told;
}

/**
 * Asks the client to run the command, once for each failure of a deployment. Its outcome changes nothing about the
 * deployment.
 */
export async function tellOfFailure(
  store: StateStore,
  { log, ask }: Pick<CommandContext, "log" | "ask">,
): Promise<void> {
  const known = await store.current().catch(() => undefined);
  if (known?.failure_command === undefined) return;
  try {
    const failed = await store.exclusively(async () => {
      const current = await store.current();
      if (
        current?.failure_command === undefined ||
        (current.status !== "failed" && current.status !== "rolled_back") ||
        isTold(current)
      )
        return undefined;
      await store.writeCurrent({ ...current, failure_told: new Date().toISOString() });
      return current;
    });
    if (failed === undefined) return;
    const release = failed.slots[failed.active_slot];
    await ask({
      do: "run the failure command",
      command: failed.failure_command,
      deploymentId: failed.deployment_id,
      status: failed.status === "rolled_back" ? "sent-back" : "failed",
      phase: failed.failed_phase ?? "",
      error: failed.error ?? "",
      slot: failed.active_slot,
      ...(release === undefined ? {} : { version: release.version, commit: release.commit }),
    });
  } catch (error) {
    log.warn(`the failure command was not run: ${messageOf(error)}`);
  }
}
