import type { EngineEvent } from "@pulumi/pulumi/automation/index.js";
import type { StackOutputs } from "./pulumi-stack.ts";

/**
 * The stack's outputs, where an event has them: the last one that tells is what `pulumi stack output` prints after the run.
 * Secret ones are left out, since an event has no more of them than that they are there.
 */
export function outputsIn({ resOutputsEvent }: Pick<EngineEvent, "resOutputsEvent">): StackOutputs | undefined {
  const { metadata, planning } = resOutputsEvent ?? {};
  if (metadata?.type !== "pulumi:pulumi:Stack" || planning === true) return undefined;
  const outputs: Record<string, unknown> = metadata.new?.outputs ?? {};
  // A stack that is made has none when its event comes first.
  if (Object.keys(outputs).length === 0) return undefined;
  return Object.fromEntries(Object.entries(outputs).filter(([, value]) => !isSecret(value)));
}

/** As Pulumi marks a secret in what it sends: see `resource.SigKey` in its SDK for Go. */
const signature = "4dabf18193072939515e22adb298388d";

function isSecret(value: unknown): boolean {
  return typeof value === "object" && value !== null && signature in value;
}
