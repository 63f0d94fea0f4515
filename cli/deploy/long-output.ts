/**
 * What steps of older versions of this project said without bounds, and Pulumi kept: its command provider hands it to the step's
 * next run as one environment variable, and Linux starts no program with one of 128 KiB or more. Nobody reads it there.
 */
import * as z from "zod";
import { resourceName } from "../../ops/host/pending-operations.ts";

/** Bytes as they stand in the state: encrypted text is longer, so that some is taken that would have fitted. */
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

/** What Pulumi's plugins say when a step can't be started any more. */
export const saysTooLong = (text: string): boolean => /\bargument list too long\b/.test(text);

const isLong = (stderr: unknown): boolean => stderr !== undefined && Buffer.byteLength(JSON.stringify(stderr)) > most;

/** Names of the steps whose output is too long. @throws when the text is no export of a stack. */
export function longOutput(exported: string): string[] {
  const resources = exportSchema.parse(JSON.parse(exported)).deployment?.resources ?? [];
  return resources
    .filter(({ type, outputs }) => type === "command:local:Command" && isLong(outputs?.["stderr"]))
    .map(({ urn }) => resourceName(urn));
}

/** The same export without that output; every other word of it stays. @throws as above. */
export function withoutLongOutput(exported: string): string {
  const state = exportSchema.parse(JSON.parse(exported));
  for (const { type, outputs } of state.deployment?.resources ?? []) {
    if (type === "command:local:Command" && outputs !== undefined && isLong(outputs["stderr"])) outputs["stderr"] = "";
  }
  return JSON.stringify(state);
}
