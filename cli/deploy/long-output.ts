/**
 * Shortens long output that steps of older versions of this project have left in Pulumi's state. Pulumi's command
 * provider passes it to the step's next run as one environment variable, and Linux starts no program with a variable of
 * 128 KiB or more. Nobody reads the output there.
 */
import * as z from "zod";
import { resourceName } from "../../ops/host/pending-operations.ts";

/**
 * Maximum in bytes, of the encrypted text in the state: encryption lengthens it, so that some output is removed that
 * would have fitted.
 */
const most = 100_000;

const exportSchema = z.looseObject({
  deployment: z
    .looseObject({
      resources: z
        .array(
          z.looseObject({ urn: z.string(), type: z.string(), outputs: z.record(z.string(), z.unknown()).optional() }),
        )
        .nullish(),
    })
    .nullish(),
});

/** Error message of Pulumi's plugins when a step can't be started any more. */
export const saysTooLong = (text: string): boolean => /\bargument list too long\b/.test(text);

const isLong = (stderr: unknown): boolean => stderr !== undefined && Buffer.byteLength(JSON.stringify(stderr)) > most;

/**
 * Names of the steps whose output is too long.
 * @throws when the text is no export of a stack.
 */
export function longOutput(exported: string): string[] {
  const resources = exportSchema.parse(JSON.parse(exported)).deployment?.resources ?? [];
  return resources
    .filter(({ type, outputs }) => type === "command:local:Command" && isLong(outputs?.["stderr"]))
    .map(({ urn }) => resourceName(urn));
}

/**
 * The export without that output; everything else stays.
 * @throws when the text is no export of a stack.
 */
export function withoutLongOutput(exported: string): string {
  const state = exportSchema.parse(JSON.parse(exported));
  for (const { type, outputs } of state.deployment?.resources ?? []) {
    if (type === "command:local:Command" && outputs !== undefined && isLong(outputs["stderr"])) outputs["stderr"] = "";
  }
  return JSON.stringify(state);
}
