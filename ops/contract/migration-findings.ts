/** The lint's findings in a release's migrations, in the form that reaches the step that applies them. */
import * as z from "zod";
import type { StepLog } from "./context.ts";
import { StepError } from "./errors.ts";
import { seconds } from "./units.ts";

/** Name of the file with the findings, at the beginning of the migrations' tar. */
export const findingsFile = "togather-lint.json";

export const findingSchema = z.strictObject({
  file: z.string(),
  line: z.number().int(),
  /** A rule of ops/lint/rules.ts, or `squawk/RULE`. */
  rule: z.string(),
  level: z.enum(["error", "warning"]),
  /** The object of the statement, such as a table. */
  what: z.string(),
  why: z.string(),
  safe: z.string(),
  /** The finding is about locks only. */
  lock: z.literal(true).optional(),
});
export type Finding = z.infer<typeof findingSchema>;
export const findingsSchema = z.array(findingSchema);

/** `000005_x.up.sql:3: drop-column: events.name: the release that serves …; instead: …` */
export function findingText({ file, line, rule, what, why, safe }: Finding): string {
  return `${file}:${line}: ${rule}: ${what === "" ? "" : `${what}: `}${why}${safe === "" ? "" : `; instead: ${safe}`}`;
}

const perList = 40;

/** One line each, for the first of many. */
export function findingLines(findings: readonly Finding[]): string {
  const rest = findings.length - perList;
  return [
    ...findings.slice(0, perList).map((finding) => `  ${findingText(finding)}`),
    ...(rest > 0 ? [`  … and ${rest} more`] : []),
  ].join("\n");
}

/** An exception in the stack file: one rule in one file. */
export const waiverSchema = z.strictObject({ file: z.string(), rule: z.string(), reason: z.string() });
export type Waiver = z.infer<typeof waiverSchema>;

/** The exception for the stack file, with a finding as the example. */
export const waiverHint = (file: string, rule: string): string =>
  `togather:migrations.allow in the stack file: - { file: ${file}, rule: ${rule}, reason: why it does no harm }`;

/**
 * Hint for an error of the lint.
 * @param first one of the errors, as the example.
 */
export const errorHint = ({ file, rule }: Pick<Finding, "file" | "rule">): string =>
  `write it in the safe way; or, where it does no harm, allow it: a line before the statement, -- togather:allow RULE and the reason, in a commit that is released then; or, where the server is not yours to edit, ${waiverHint(file, rule)}`;

/** Ends a preview's message about migrations that will stop the deployment; a dry run's exit code depends on it. */
export const willStop = "This deployment will stop there";

/** A rehearsal's results for a file. */
export interface Measured {
  /** The longest time that others had to wait for a table, in ms. */
  heldMs: number;
  /** Duration of the whole file, in ms. */
  durationMs: number;
  /** Unique indexes that are gone, on tables that still exist. */
  lostUnique: string[];
}

/** A longer wait of others is a warning, in ms: people notice a request that takes a second. */
export const noticedMs = 1_000;

const took = (ms: number): string => `for ${ms < 1_000 ? `${Math.round(ms)} ms` : seconds(ms)}`;

/** A finding, adjusted by the rehearsal's results: on forty rows, a lock disturbs nobody. */
function inTheLightOf(finding: Finding, measured: Measured | undefined): Finding {
  if (finding.lock !== true || finding.level !== "error" || measured === undefined) return finding;
  // Row locks are not watched.
  const ms = finding.rule === "backfill" ? measured.durationMs : measured.heldMs;
  if (finding.rule === "drop-index-blocking" && measured.lostUnique.length > 0) {
    return {
      ...finding,
      why: `${measured.lostUnique.join(", ")} was unique: an ON CONFLICT of the release that serves fails without it`,
    };
  }
  if (ms > noticedMs) return { ...finding, why: `${finding.why} (${took(ms)} on a copy of the data)` };
  return {
    ...finding,
    level: "warning",
    why: `${finding.why} (${took(ms)} on a copy of the data, which is let through)`,
  };
}

/**
 * Findings without those that the stack file allows, and the entries of its list that are useless: the file or the
 * finding does not exist (any more).
 */
export function withoutWaived(
  findings: readonly Finding[],
  waivers: readonly Waiver[],
  files: readonly { file: string }[],
): { left: Finding[]; waived: { finding: Finding; reason: string }[]; unused: Waiver[] } {
  const waiverOf = ({ file, rule }: Finding): Waiver | undefined =>
    waivers.find((one) => one.file === file && one.rule === rule);
  return {
    left: findings.filter((finding) => waiverOf(finding) === undefined),
    waived: findings.flatMap((finding) => {
      const reason = waiverOf(finding)?.reason;
      return reason === undefined ? [] : [{ finding, reason }];
    }),
    // Only the database knows which files are out of order, and a file that is not read is not listed here: such
    // entries are not checked.
    unused: waivers.filter(
      ({ file, rule }) =>
        (rule !== "not-read" && !files.some((one) => one.file === file)) ||
        (rule !== "out-of-order" &&
          rule !== "not-read" &&
          !findings.some((finding) => finding.file === file && finding.rule === rule)),
    ),
  };
}

export function unusedText({ file, rule }: Waiver, files: readonly { file: string }[]): string {
  return `togather:migrations.allow names ${file} with ${rule}, but ${files.some((one) => one.file === file) ? "the lint doesn't find that there" : "there is no such file"}: take it out`;
}

interface Review {
  /** `off` checks nothing; `warn` never stops. */
  severity: "error" | "warn" | "off";
  /** Findings in all files of the release. */
  findings: readonly Finding[];
  /** All files of the release. */
  up: readonly { file: string }[];
  /** Files that are about to be applied. */
  todo: readonly { file: string }[];
  waivers: readonly Waiver[];
  /** By file. Empty: nothing was rehearsed. */
  measured: ReadonlyMap<string, Measured>;
}

/**
 * Shows the lint's findings in files before they are applied.
 * @throws {StepError} where `severity` is `error` and a finding is an error; nothing has been applied then.
 */
export function reviewFindings(
  { severity, findings, up, todo, waivers, measured }: Review,
  log: Pick<StepLog, "warn" | "info">,
): void {
  if (severity === "off") return;
  const names = new Set(todo.map(({ file }) => file));
  const { left, waived, unused } = withoutWaived(findings, waivers, up);
  for (const waiver of unused) log.warn(`migrate: ${unusedText(waiver, up)}`);
  for (const { finding, reason } of waived)
    if (names.has(finding.file))
      log.info(
        `migrate: ${finding.file}:${finding.line}: ${finding.rule}: ${finding.what}: allowed by the stack file: ${reason}`,
      );
  const found = left
    .filter(({ file }) => names.has(file))
    .map((finding) => inTheLightOf(finding, measured.get(finding.file)));
  const errors = severity === "error" ? found.filter(({ level }) => level === "error") : [];
  const others = found.filter((finding) => !errors.includes(finding));
  if (others.length > 0) log.warn(`migrate: the lint has found\n${findingLines(others)}`);
  const [first] = errors;
  if (first === undefined) return;
  throw new StepError(
    `the lint of the migrations that were to be applied has found ${errors.length === 1 ? "an error" : `${errors.length} errors`}; none of them was applied:\n${findingLines(errors)}`,
    {
      hint: errorHint(first),
    },
  );
}
