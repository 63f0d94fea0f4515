import { rolledBackExitCode } from "../../ops/contract/errors.ts";
import type { Ending } from "../exit-codes.ts";
import { endingOfPhase, stepLine, type PhaseTracker } from "./phases.ts";
import type { RunEnd } from "./pulumi-stack.ts";

/** The ending of a run, from its result and its events. */
export function endingOf(
  end: Pick<RunEnd, "ok" | "interrupted" | "said" | "refused">,
  tracker: Pick<PhaseTracker, "failed" | "diagnostics">,
): Ending {
  if (end.ok) return "ok";
  if (end.interrupted) return "interrupted";
  // The program's own refusals have a code; Pulumi's can only be recognized by their text.
  if (end.refused !== undefined) return end.refused === "unread" ? "other" : end.refused;
  const said = [end.said, ...tracker.diagnostics.errors].join("\n");
  if (/the stack is currently locked|Another update is currently in progress/.test(said)) return "lock";
  const { failed } = tracker;
  if (failed?.phase === "switch" && failed.errors.some(saysRolledBack)) return "rolledBack";
  if (failed) return endingOfPhase(failed.phase);
  if (
    /incorrect passphrase|passphrase must be set|no stack named|validating stack config|is not a valid configuration/i.test(
      said,
    )
  )
    return "config";
  return "other";
}

/** Whether the command provider's message has the step's exit code for a rollback. */
function saysRolledBack(error: string): boolean {
  return new RegExp(`^(error: )?exit status ${rolledBackExitCode}: running `, "m").test(error);
}

/** Text that Pulumi and the command provider add around a step's own message. */
const wrapping = [
  /^(error: )?exit status \d+: running ".*":?$/,
  /^(error: )?(update|preview) failed$/,
  /^(error: )?(resource operation|preview|update|program) failed with .*$/,
  /^\d+ errors? occurred:$/,
  /resource (registration|monitor) /,
];

/** Lines without progress and warnings, and without the indented lines that belong to one of them. */
function withoutProgress(lines: readonly string[]): string[] {
  let drops = false;
  return lines.filter((line) => {
    const level = stepLine.exec(line.trim())?.[1];
    if (level !== undefined) drops = /^(INFO|DEBUG|WARN)$/.test(level);
    else if (!/^\s/.test(line)) drops = false;
    return !drops;
  });
}

/** A step's own error message, once, without Pulumi's wrapping, without progress and without warnings. */
export function errorText(messages: readonly string[]): string {
  const lines = withoutProgress(messages.flatMap((message) => message.split("\n")))
    .filter((line) => line.trim() !== "" && !wrapping.some((pattern) => pattern.test(line.trim())))
    .map((line) =>
      line
        .replace(/^\d\d:\d\d:\d\d ERROR {3}/, "")
        .replace(/^ {10,}→/, "  →")
        .trimEnd(),
    );
  return [...new Set(lines)].join("\n");
}
