import { styleText } from "node:util";
import type { Before } from "../../config/plan.ts";
import { forStack } from "../../config/problems.ts";
import type { DeployContext } from "../context.ts";
import { exitCodes } from "../exit-codes.ts";
import { type Output, rowsAsColumns } from "../output.ts";
import { containerFindings } from "./containers.ts";
import { databaseFindings } from "./database.ts";
import { countFindings, fail, type Finding } from "./finding.ts";
import { hostFindings } from "./host.ts";
import { pulumiFindings } from "./pulumi.ts";
import { examineSettings, tlsFindings } from "./settings.ts";
import { sourceFindings } from "./source.ts";

/** A check that itself fails becomes a finding: the others are still of use. */
async function guarded(check: string, find: () => Promise<Finding[]>): Promise<Finding[]> {
  try {
    return await find();
  } catch (error) {
    return [
      fail(
        check,
        `can't be checked: ${error instanceof Error ? error.message : String(error)}`,
        "an answer",
        "togather doctor, once that is right",
      ),
    ];
  }
}

/**
 * Runs all checks at the same time; none of them changes anything on the host. The findings are in the order in which
 * people mend them.
 * @param left the releases that the last deployment has left in the slots; missing: Pulumi is asked.
 */
export async function examine(
  { file, settings, pulumi }: Pick<DeployContext, "file" | "settings" | "pulumi">,
  project: string,
  left?: Before["slots"],
): Promise<Finding[]> {
  const asked = pulumi.config(file).then((config) => examineSettings(config, project));
  const groups = await Promise.all([
    guarded("docker", () => hostFindings(settings, settings.backupLocation)),
    guarded("containers", () => containerFindings(settings, pulumi, left)),
    guarded("pulumi", () => pulumiFindings(pulumi, settings, project)),
    guarded("settings", async () => (await asked).findings),
    guarded("tls", () => Promise.resolve(tlsFindings(settings, project))),
    guarded("source", () => sourceFindings(settings, project)),
    guarded("database", async () => databaseFindings(settings, (await asked).settings)),
  ]);
  return groups
    .flat()
    .map((finding) => (finding.fix === undefined ? finding : { ...finding, fix: forStack(finding.fix, pulumi.name) }));
}

const marks = { ok: ["green", "ok"], warn: ["yellow", "WARN"], fail: ["red", "FAIL"] } as const;

/** A line for each finding; below a bad one, the expected state and the fix. */
export function findingsText(findings: readonly Finding[]): string {
  const cells = findings.map(({ status, check, found }) => [
    styleText(marks[status][0], marks[status][1]),
    check,
    found.replaceAll("\n", " "),
  ]);
  const lines = rowsAsColumns(cells);
  return findings
    .flatMap(({ expected, fix }, index) => [
      lines[index] ?? "",
      ...(expected === undefined ? [] : [`        expected: ${expected}`]),
      ...(fix === undefined ? [] : [`        → ${fix}`]),
    ])
    .join("\n");
}

/**
 * Shows the findings of a command that only looks.
 * @returns its exit code: a warning is no failure.
 */
export function showFindings(
  output: Output,
  findings: readonly Finding[],
  { more = {}, closing = "" }: { more?: object; closing?: string } = {},
): number {
  const well = findings.every(({ status }) => status !== "fail");
  const { code } = well ? exitCodes.ok : exitCodes.config;
  output.result(
    { ok: well, exitCode: code, findings, ...more },
    () => `${findingsText(findings)}\n${countFindings(findings)}${closing}`,
  );
  return code;
}
