/** What the lint has found in a release's migrations, as it reaches the step that applies them. */
import * as z from "zod";
import type { StepLog } from "./context.ts";
import { StepError } from "./errors.ts";
import { seconds } from "./units.ts";

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
  /** It is about locks alone. */
  lock: z.literal(true).optional(),
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
  return [
    ...findings.slice(0, perList).map((finding) => `  ${findingText(finding)}`),
    ...(rest > 0 ? [`  … and ${rest} more`] : []),
  ].join("\n");
}

/** What the stack file lets a release do: one rule in one file. */
export const waiverSchema = z.strictObject({ file: z.string(), rule: z.string(), reason: z.string() });
export type Waiver = z.infer<typeof waiverSchema>;

/** How the stack file is told so, by the example of a finding. */
export const waiverHint = (file: string, rule: string): string =>
  `togather:migrations.allow in the stack file: - { file: ${file}, rule: ${rule}, reason: why it does no harm }`;

/** What is done about an error of the lint. @param first one of them, as the example. */
export const errorHint = ({ file, rule }: Pick<Finding, "file" | "rule">): string =>
  `write it in the safe way; or, where it does no harm, allow it: a line before the statement, -- togather:allow RULE and the reason, in a commit that is released then; or, where the server is not yours to edit, ${waiverHint(file, rule)}`;

/** Ends what a preview says of migrations that will stop the deployment; a dry run's exit code goes by it. */
export const willStop = "This deployment will stop there";

/** What a rehearsal has found of a file. */
export interface Measured {
  /** How long others had to wait for a table at most. */
  heldMs: number;
  /** The file as a whole. */
  durationMs: number;
  /** Unique indexes that are gone, on tables that are still there. */
  lostUnique: string[];
}

/** Others waiting for longer than this is a warning, in ms: a request that takes a second is one that people notice. */
export const noticedMs = 1_000;

const took = (ms: number): string => `for ${ms < 1_000 ? `${Math.round(ms)} ms` : seconds(ms)}`;

/** A finding in the light of what the rehearsal has found: on forty rows, a lock is nobody's trouble. */
function inTheLightOf(finding: Finding, measured: Measured | undefined): Finding {
  if (finding.lock !== true || finding.level !== "error" || measured === undefined) return finding;
  // Rows' locks are not among those that are watched.
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

/** Findings without those that the stack file allows, and what of its list is of no use: the file or the finding is not there (any more). */
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
    // Only the database knows what is out of order; a name that is not read is not among the files.
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
  /** `off` looks at nothing; `warn` never stops. */
  severity: "error" | "warn" | "off";
  /** In all files of the release. */
  findings: readonly Finding[];
  /** All of them. */
  up: readonly { file: string }[];
  /** About to be applied. */
  todo: readonly { file: string }[];
  waivers: readonly Waiver[];
  /** By file; none where nothing was rehearsed. */
  measured: ReadonlyMap<string, Measured>;
}

/**
 * Before files are applied: shows what the lint has found in them.
 * @throws {StepError} where `severity` is `error` and one of them is an error; nothing has been applied then.
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
