import { resolve } from "node:path";
import { styleText } from "node:util";
import { Option, type Command } from "commander";
import { environmentRules } from "../../config/environments.ts";
import { migrationSource } from "../../config/migration-source.ts";
import { migrationFiles } from "../../ops/client/migrate.ts";
import { textsIn } from "../../ops/client/migration-tar.ts";
import { lintMigrations, type LintResult } from "../../ops/lint/lint.ts";
import { findingText, type Finding } from "../../ops/migration-findings.ts";
import { upFiles } from "../../ops/migrations.ts";
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

/** The directory of migrations of a release that somebody names; of the files on disk when nobody does. */
async function textsOf(source: PlainSettings["source"], reference: string | undefined): Promise<Map<string, string>> {
  const from = { migrations: source.migrations, repository: resolve(project, source.repository) };
  const found = reference === undefined ? undefined : (await resolveRelease(source, project, reference, "any")).release;
  const release = found === undefined ? { commit: "tree-" } : "commit" in found ? found : { commit: "", image: found.image };
  const where = migrationSource(release, from);
  return textsIn(await migrationFiles(where, new AbortController().signal), where);
}

/** Of the files of a release, those to look at. `harmless`: nothing is there yet that they could harm. */
async function choose(names: readonly string[], { settings, options, stack }: { settings: PlainSettings; options: LintCommandOptions; stack: string }): Promise<{ only: Set<string>; harmless: boolean }> {
  const files = upFiles(names);
  if (options.since !== undefined) {
    const known = await textsOf(settings.source, options.since);
    return { only: new Set(files.flatMap(({ file }) => (known.has(file) ? [] : [file]))), harmless: false };
  }
  const version = options.all === true ? null : await schemaVersion(settings, () => PulumiStack.open(stack));
  if (version === undefined) throw new Failure("other", `the database of ${stack} doesn't tell its schema version, so that nobody knows which migrations are new`, `${invocation("lint --since COMMIT")}, or --all; ${invocation("doctor")} says why it doesn't answer`);
  return { only: new Set(files.flatMap(({ file, version: own }) => (own > (version ?? -1) ? [file] : []))), harmless: version === null && options.all !== true };
}

function textOf({ findings, files, squawk }: LintResult, verdict: string): string {
  const colours = { error: "red", warning: "yellow" } as const;
  const lines = findings.map((finding: Finding) => `${styleText(colours[finding.level], finding.level.padEnd(7))} ${findingText(finding)}`);
  const counts = (["error", "warning"] as const).map((level) => {
    const count = findings.filter((finding) => finding.level === level).length;
    return `${count} ${level}${count === 1 ? "" : "s"}`;
  });
  const without = squawk || files.length === 0 ? [] : ["Without squawk's rules: it has no program for this machine."];
  return [...lines, ...without, `${files.length === 0 ? "No new migrations" : `${files.length} ${files.length === 1 ? "migration" : "migrations"}: ${counts.join(", ")}`}${verdict}`].join("\n");
}

export function lintCommand(program: Command, end: (code: number) => void): void {
  withCommonOptions(program.command("lint"))
    .summary("whether new migrations are safe beside the release that serves")
    .description("Looks for what is not safe in the migrations that a release would apply: docs/migrations.md lists the rules. Ends with 6 where a deployment of this stack would stop at them.")
    .argument("[ref]", "commit, tag or branch of togather:source.repository, or an image: name@sha256:…; the files as they are on disk unless given")
    .addOption(new Option("--all", "all migrations, not only those that the database still lacks").conflicts("since"))
    .option("--since <ref>", "those that this commit does not have; the database is not asked")
    .action(async (reference: string | undefined, _options, command: Command) => {
      const options = command.optsWithGlobals<LintCommandOptions>();
      const { file, settings, output } = await readContext(options);
      const texts = await textsOf(settings.source, reference);
      const { only, harmless } = await choose([...texts.keys()], { settings, options, stack: file.stack });
      const result = await lintMigrations(texts, { only });
      const severity = environmentRules[settings.environment].migrationLint;
      const stops = severity === "error" && !harmless && result.findings.some(({ level }) => level === "error");
      const ending = stops ? exitCodes.migration : exitCodes.ok;
      const verdict = stops ? `. A release to ${file.stack} stops at the errors.` : result.findings.length === 0 ? "" : harmless ? ". There is no data yet that they could harm." : `. A release to ${file.stack} doesn't stop at them.`;
      output.result({ ok: !stops, exitCode: ending.code, ...result }, () => textOf(result, verdict));
      end(ending.code);
    });
}
