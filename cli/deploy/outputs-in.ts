import type { EngineEvent } from "@pulumi/pulumi/automation/index.js";
import type { StackOutputs } from "./pulumi-stack.ts";

/**
 * The stack's outputs in an event. The last event that has them shows the same as `pulumi stack output` after the run.
 * Secret ones are left out: an event does not contain their values.
 */
export function outputsIn({ resOutputsEvent }: Pick<EngineEvent, "resOutputsEvent">): StackOutputs | undefined {
  const { metadata, planning } = resOutputsEvent ?? {};
  if (metadata?.type !== "pulumi:pulumi:Stack" || planning === true) return undefined;
  const outputs: Record<string, unknown> = metadata.new?.outputs ?? {};
  // A new stack's first event has no outputs yet.
  if (Object.keys(outputs).length === 0) return undefined;
  return Object.fromEntries(Object.entries(outputs).filter(([, value]) => !isSecret(value)));
}

/** Pulumi's mark of a secret in its messages: see `resource.SigKey` in its SDK for Go. */
const signature = "4dabf18193072939515e22adb298388d";

function isSecret(value: unknown): boolean {
  return typeof value === "object" && value !== null && signature in value;
}
