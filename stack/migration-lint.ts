import * as pulumi from "@pulumi/pulumi";
import type { Settings } from "../config/settings.ts";
import type { Finding } from "../ops/contract/migration-findings.ts";
import { migrationSource } from "../config/migration-source.ts";
import { plainRelease } from "../config/release.ts";
import { snapshotRules } from "../config/schema/snapshot-rules.ts";
import { newMigrations } from "../ops/client/pending-migrations.ts";
import type { Serving } from "../ops/host/serving-slot.ts";
import type { Release, SlotName } from "../ops/contract/steps.ts";
import { upFiles } from "../ops/contract/migrations.ts";

/**
 * Warns, in a preview, of the lint's findings in migrations that a deployment would run. Loads the parser only when
 * there are any.
 * @param pending their files. Undefined: the database was not asked; then the files count that the new release has and
 * the one that serves has not, where both are commits.
 */
export async function warnOfMigrations(
  { slots, source, rules, migrations, deployment }: Settings,
  slot: SlotName,
  serving: Serving | undefined,
  pending: readonly string[] | undefined,
): Promise<void> {
  const release = slots[slot];
  // Before anything serves, there is nothing that a migration could harm.
  if (
    rules.migrationLint === "off" ||
    serving === undefined ||
    release === undefined ||
    release.source.kind === "image"
  )
    return;
  const of = ({ commit }: Release): Parameters<typeof newMigrations>[0] => ({
    repository: source.repository,
    commit,
    path: source.migrations,
  });
  const files =
    pending ?? (serving.slot === slot ? [] : await newMigrations(of(plainRelease(release)), of(serving.release)));
  if (files === undefined || files.length === 0) return;
  const [
    { lintMigrations },
    { migrationFiles },
    { textsIn },
    { errorHint, findingLines, unusedText, willStop, withoutWaived },
  ] = await Promise.all([
    import("../ops/lint/lint.ts"),
    import("../ops/client/migrate.ts"),
    import("../ops/client/migration-tar.ts"),
    import("../ops/contract/migration-findings.ts"),
  ]);
  const from = migrationSource(release, source);
  const texts = await textsIn(await migrationFiles(from, new AbortController().signal), from);
  const { left, unused } = withoutWaived(
    (await lintMigrations(texts)).findings,
    migrations.allow,
    upFiles([...texts.keys()]),
  );
  for (const waiver of unused) await pulumi.log.warn(unusedText(waiver, upFiles([...texts.keys()])));
  const findings = left.filter(({ file }) => files.includes(file));
  // An index on forty rows disturbs nobody: the rehearsal shows that.
  const rehearsed = snapshotRules(deployment.database, rules).rehearse !== "never";
  const kindOf = ({ level, lock }: Finding): "stops" | "measured" | "warns" =>
    rules.migrationLint !== "error" || level !== "error" ? "warns" : lock === true && rehearsed ? "measured" : "stops";
  const say = async (kind: ReturnType<typeof kindOf>, text: string): Promise<void> => {
    const [first, ...others] = findings.filter((finding) => kindOf(finding) === kind);
    if (first === undefined) return;
    const hint = kind === "stops" ? `\n  → ${errorHint(first)}` : "";
    await pulumi.log.warn(`migrations: ${text}:\n${findingLines([first, ...others])}${hint}`);
  };
  await say("stops", `the lint has found errors in files that this deployment would apply. ${willStop}`);
  await say(
    "measured",
    "the lint has found locks in files that this deployment would apply. The rehearsal measures them; one that is held for longer than a second stops it",
  );
  await say("warns", "the lint has found, in files that this deployment would apply");
}
