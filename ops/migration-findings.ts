/** What the lint has found in a release's migrations, as it reaches the step that applies them. */
import * as z from "zod";
import type { StepLog } from "./context.ts";
import { StepError } from "./errors.ts";

/** The findings travel as this file, in front of the migrations' tar. */
export const findingsFile = "togather-lint.json";

export const findingSchema = z.strictObject({
  file: z.string(),
  line: z.number().int(),
  /** One of ops/lint/rules.ts, or `squawk/RULE`. */
  rule: z.string(),
  level: z.enum(["error", "warning"]),
  /** What of the statement, such as a table. */
  what: z.string(),
  why: z.string(),
  safe: z.string(),
});
export type Finding = z.infer<typeof findingSchema>;
export const findingsSchema = z.array(findingSchema);

/** `000005_x.up.sql:3: drop-column: events.name: the release that serves …; instead: …` */
export function findingText({ file, line, rule, what, why, safe }: Finding): string {
  return `${file}:${line}: ${rule}: ${what === "" ? "" : `${what}: `}${why}${safe === "" ? "" : `; instead: ${safe}`}`;
}

const perList = 40;

/** One line each, the first of many. */
export function findingLines(findings: readonly Finding[]): string {
  const rest = findings.length - perList;
  return [...findings.slice(0, perList).map((finding) => `  ${findingText(finding)}`), ...(rest > 0 ? [`  … and ${rest} more`] : [])].join("\n");
}

/**
 * Before files are applied: shows what the lint has found in them.
 * @throws {StepError} where `severity` is `error` and one of them is an error; nothing has been applied then.
 */
export function reviewFindings(severity: "error" | "warn" | "off", findings: readonly Finding[], todo: readonly { file: string }[], log: Pick<StepLog, "warn">): void {
  if (severity === "off") return;
  const names = new Set(todo.map(({ file }) => file));
  const found = findings.filter(({ file }) => names.has(file));
  const errors = severity === "error" ? found.filter(({ level }) => level === "error") : [];
  const others = found.filter((finding) => !errors.includes(finding));
  if (others.length > 0) log.warn(`migrate: the lint has found\n${findingLines(others)}`);
  if (errors.length === 0) return;
  throw new StepError(`the lint of the migrations that were to be applied has found ${errors.length === 1 ? "an error" : `${errors.length} errors`}; none of them was applied:\n${findingLines(errors)}`, {
    hint: "write it in the safe way, or, where it does no harm, a line before the statement: -- togather:allow RULE and the reason; then commit and release that commit",
  });
}
