/** The lint of a release's migrations: our rules and squawk's, without findings that a comment allows. */
import type { Finding } from "../contract/migration-findings.ts";
import { upFiles } from "../contract/migrations.ts";
import { Checker } from "./check.ts";
import { rules, type RuleName } from "./rules.ts";
import { squawk, type SquawkFinding } from "./squawk.ts";
import { parseFile, SqlSyntaxError, type Allow, type ParsedFile } from "./statements.ts";

export interface LintResult {
  /** By file and line. */
  findings: Finding[];
  /** The files that were checked. */
  files: string[];
  /** Whether squawk's rules are included: it has no program for some machines. */
  squawk: boolean;
}

export interface LintOptions {
  /** Files to check: names of `up` files. Default: all. */
  only?: ReadonlySet<string>;
}

function finding(file: string, line: number, rule: RuleName, what: string): Finding {
  return { file, line, rule, what, ...rules[rule] };
}

/** Problems of an allow comment itself. Without a reason it allows nothing. */
function checkAllows(file: string, allows: readonly Allow[], used: ReadonlySet<Allow>): Finding[] {
  return allows.flatMap((allow) => {
    if (allow.rule === "" || allow.reason === "")
      return [finding(file, allow.line, "allow-without-reason", allow.rule)];
    return used.has(allow) ? [] : [finding(file, allow.line, "allow-unused", allow.rule)];
  });
}

function lintFile(file: string, parsed: ParsedFile, hasDown: boolean, theirs: readonly SquawkFinding[]): Finding[] {
  const { statements, rest, lineAt } = parsed;
  const checker = new Checker(statements.map(({ node }) => node));
  const used = new Set<Allow>();
  const findings: Finding[] = [];
  const add = (found: Finding, allows: readonly Allow[]): void => {
    const allowed = allows.filter(({ rule, reason }) => rule === found.rule && reason !== "");
    if (allowed.length === 0) findings.push(found);
    for (const allow of allowed) used.add(allow);
  };
  for (const statement of statements) {
    for (const { rule, what, at } of checker.check(statement))
      add(finding(file, at === undefined ? statement.line : lineAt(at), rule, what), statement.allows);
  }
  for (const { line, rule, why, safe } of theirs) {
    const statement = statements.find((one) => one.line <= line && line <= one.lastLine);
    add({ file, line, rule, level: "warning", what: "", why, safe }, statement?.allows ?? []);
  }
  const all = [...statements.flatMap(({ allows }) => allows), ...rest];
  // It is about the file: the comment may stand anywhere in it.
  if (!hasDown) add(finding(file, 1, "missing-down", ""), all);
  // Without squawk it can't be known whether a comment about one of its rules is needed.
  const about = all.filter(({ rule, reason }) => !rule.startsWith("squawk/") || reason === "");
  return [...findings, ...checkAllows(file, about, used)];
}

/** @param files names and texts of the directory of migrations. */
export async function lintMigrations(
  files: ReadonlyMap<string, string>,
  { only }: LintOptions = {},
): Promise<LintResult> {
  const names = upFiles([...files.keys()])
    .map(({ file }) => file)
    .filter((file) => only === undefined || only.has(file));
  const texts = new Map(names.map((name) => [name, files.get(name) ?? ""]));
  const theirs = squawk(texts);
  const findings: Finding[] = [];
  for (const [name, text] of texts) {
    try {
      const parsed = await parseFile(text);
      const hasDown = files.has(name.replace(/\.up\./, ".down."));
      findings.push(
        ...lintFile(
          name,
          parsed,
          hasDown,
          ((await theirs) ?? []).filter(({ file }) => file === name),
        ),
      );
    } catch (error) {
      if (!(error instanceof SqlSyntaxError)) throw error;
      findings.push(finding(name, error.line, "syntax", error.message));
    }
  }
  const order = new Map(names.map((name, index) => [name, index]));
  findings.sort((a, b) => (order.get(a.file) ?? 0) - (order.get(b.file) ?? 0) || a.line - b.line);
  return { findings, files: names, squawk: (await theirs) !== undefined };
}
