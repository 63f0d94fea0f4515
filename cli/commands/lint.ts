import { resolve } from "node:path";
import { styleText } from "node:util";
import { Option, type Command } from "commander";
import { environmentRules } from "../../config/schema/environments.ts";
import { releaseOfSetting, type SlotRelease } from "../../config/release.ts";
import { migrationSource } from "../../config/migration-source.ts";
import { lintMigrations, type LintResult } from "../../ops/lint/lint.ts";
import { findingText, unusedText, withoutWaived, type Finding } from "../../ops/contract/migration-findings.ts";
import { upFiles } from "../../ops/contract/migrations.ts";
import { project } from "../../toolchain/setup.ts";
import { readContext, withCommonOptions, type CommonOptions } from "../context.ts";
import { PulumiStack } from "../deploy/pulumi-stack.ts";
import { resolveRelease } from "../deploy/resolve-release.ts";
import { schemaVersion } from "../deploy/schema-version.ts";
import { exitCodes } from "../exit-codes.ts";
import { Failure } from "../failure.ts";
import { invocation } from "../output.ts";
import type { PlainSettings } from "../stack-file.ts";

interface LintCommandOptions extends CommonOptions {
  all?: boolean;
  since?: string;
}

/** The migrations of a release; without a reference, those of the files on disk. */
async function textsOf(source: PlainSettings["source"], reference: string | undefined): Promise<Map<string, string>> {
  const from = { migrations: source.migrations, repository: resolve(project, source.repository) };
  const found = reference === undefined ? undefined : (await resolveRelease(source, project, reference, "any")).release;
  const release: Pick<SlotRelease, "source"> =
    found === undefined ? { source: { kind: "tree", id: "" } } : releaseOfSetting(found);
  const where = migrationSource(release, from);
  // Loaded here: no other command reads migrations.
  const [{ migrationFiles }, { textsIn }] = await Promise.all([
    import("../../ops/client/migrate.ts"),
    import("../../ops/client/migration-tar.ts"),
  ]);
  return textsIn(await migrationFiles(where, new AbortController().signal), where);
}

/** The files of a release to check. `harmless`: there is no data yet that they could harm. */
async function choose(
  names: readonly string[],
  { settings, options, stack }: { settings: PlainSettings; options: LintCommandOptions; stack: string },
): Promise<{ only: Set<string>; harmless: boolean }> {
  const files = upFiles(names);
  if (options.since !== undefined) {
    const known = await textsOf(settings.source, options.since);
    return { only: new Set(files.flatMap(({ file }) => (known.has(file) ? [] : [file]))), harmless: false };
  }
  const version = options.all === true ? null : await schemaVersion(settings, () => PulumiStack.open(stack));
  if (version === undefined)
    throw new Failure(
      "other",
      `the database of ${stack} doesn't tell its schema version, so that nobody knows which migrations are new`,
      `${invocation("lint --since COMMIT")}, or --all; ${invocation("doctor")} says why it doesn't answer`,
    );
  return {
    only: new Set(files.flatMap(({ file, version: own }) => (own > (version ?? -1) ? [file] : []))),
    harmless: version === null && options.all !== true,
  };
}

function textOf(
  { findings, files, squawk }: LintResult,
  { notes, verdict }: { notes: readonly string[]; verdict: string },
): string {
  const colours = { error: "red", warning: "yellow" } as const;
  const lines = findings.map(
    (finding: Finding) => `${styleText(colours[finding.level], finding.level.padEnd(7))} ${findingText(finding)}`,
  );
  const counts = (["error", "warning"] as const).map((level) => {
    const count = findings.filter((finding) => finding.level === level).length;
    return `${count} ${level}${count === 1 ? "" : "s"}`;
  });
  const without = squawk || files.length === 0 ? [] : ["Without squawk's rules: it has no program for this machine."];
  return [
    ...lines,
    ...notes,
    ...without,
    `${files.length === 0 ? "No new migrations" : `${files.length} ${files.length === 1 ? "migration" : "migrations"}: ${counts.join(", ")}`}${verdict}`,
  ].join("\n");
}

export function lintCommand(program: Command, end: (code: number) => void): void {
  withCommonOptions(program.command("lint"))
    .summary("find unsafe statements in new migrations")
    .description(
      "Finds unsafe statements in the migrations that a release would apply. Rules: docs/migrations.md. Ends with 6 when a deployment of this stack would stop.",
    )
    .argument(
      "[ref]",
      "commit, tag or branch of togather:source.repository, or an image: name@sha256:…; the files as they are on disk unless given",
    )
    .addOption(new Option("--all", "all migrations, not only pending ones").conflicts("since"))
    .option("--since <ref>", "only migrations that this commit lacks; the database is not asked")
    .action(async (reference: string | undefined, _options, command: Command) => {
      const options = command.optsWithGlobals<LintCommandOptions>();
      const { file, settings, output } = await readContext(options);
      const texts = await textsOf(settings.source, reference);
      const { only, harmless } = await choose([...texts.keys()], { settings, options, stack: file.stack });
      // All files: the stack file's exceptions for an applied file are still of use.
      const all = await lintMigrations(texts);
      const { left, waived, unused } = withoutWaived(
        all.findings,
        settings.migrations.allow,
        upFiles([...texts.keys()]),
      );
      const result: LintResult = {
        ...all,
        findings: left.filter((finding) => only.has(finding.file)),
        files: all.files.filter((name) => only.has(name)),
      };
      const severity = environmentRules[settings.environment].migrationLint;
      const errors = severity === "error" && !harmless ? result.findings.filter(({ level }) => level === "error") : [];
      // The rehearsal decides about findings that are only about locks.
      const stops = errors.some(({ lock }) => settings.rehearse === "never" || lock !== true);
      const ending = stops ? exitCodes.migration : exitCodes.ok;
      const toldOf = `A release to ${file.stack}`;
      const verdict = stops
        ? `. ${toldOf} stops at the errors.`
        : errors.length > 0
          ? `. ${toldOf} stops at them where its rehearsal finds a lock held for longer than a second.`
          : result.findings.length === 0
            ? ""
            : harmless
              ? ". There is no data yet that they could harm."
              : `. ${toldOf} doesn't stop at them.`;
      const notes = [
        ...waived.flatMap(({ finding, reason }) =>
          only.has(finding.file)
            ? [`allowed ${finding.file}:${finding.line}: ${finding.rule}: ${finding.what}: ${reason}`]
            : [],
        ),
        ...unused.map((waiver) => `unused  ${unusedText(waiver, upFiles([...texts.keys()]))}`),
      ];
      output.result(
        {
          ok: !stops,
          exitCode: ending.code,
          ...result,
          waived: waived.filter(({ finding }) => only.has(finding.file)),
          unused,
        },
        () => textOf(result, { notes, verdict }),
      );
      end(ending.code);
    });
}
