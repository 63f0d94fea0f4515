/** The operator's own command for a deployment that has failed: what the step asks its client to run, and when. */
import * as z from "zod";
import type { CommandContext } from "../../contract/context.ts";
import { messageOf } from "../../contract/errors.ts";
import type { StateStore } from "./state-store.ts";
import type { failureQuestionSchema } from "../../contract/questions.ts";

/** What the command is told of the failure. */
export type Failure = Omit<z.infer<typeof failureQuestionSchema>, "do" | "command">;

/**
 * Has the client run the command, once for each failure of a deployment: steps of both slots run side by side, and one cause may stop
 * several. Whatever comes of it changes nothing about the deployment.
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
        current.failure_told === true ||
        (current.status !== "failed" && current.status !== "rolled_back")
      )
        return undefined;
      await store.writeCurrent({ ...current, failure_told: true });
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
