/** Squawk's rules, a second opinion: those that ours don't cover already. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import * as z from "zod";

/** Squawk's rules that ours replace; ours take the tables that a file creates into account. */
const ours = [
  "syntax-error",
  "ban-drop-table",
  "ban-drop-column",
  "ban-drop-database",
  "renaming-table",
  "renaming-column",
  "changing-column-type",
  "adding-required-field",
  "adding-not-nullable-field",
  "adding-field-with-default",
  "adding-serial-primary-key-field",
  "adding-foreign-key-constraint",
  "constraint-missing-not-valid",
  "disallowed-unique-constraint",
  "require-concurrent-index-creation",
  "require-concurrent-index-deletion",
  "ban-concurrent-index-creation-in-transaction",
  "transaction-nesting",
  "ban-uncommitted-transaction",
  "require-concurrent-reindex",
  "ban-truncate-cascade",
];
/**
 * Squawk's rules about style, and about things that golang-migrate and the deployment ensure: time limits, each file
 * once, as one transaction.
 */
const notHere = [
  "prefer-robust-stmts",
  "prefer-text-field",
  "prefer-timestamp-tz",
  "prefer-timestamptz",
  "prefer-bigint-over-int",
  "prefer-bigint-over-smallint",
  "prefer-big-int",
  "prefer-identity",
  "prefer-repack",
  "require-timeout-settings",
  "require-lock-timeout",
  "require-statement-timeout",
  "require-table-schema",
  "unused-ignore",
];
const left = new Set([...ours, ...notHere]);

const reportSchema = z.array(
  z.object({
    file: z.string(),
    line: z.number(),
    message: z.string(),
    help: z.string().nullish(),
    rule_name: z.string(),
  }),
);

/** Squawk's findings; `line` from 1. */
export interface SquawkFinding {
  file: string;
  line: number;
  rule: string;
  why: string;
  safe: string;
}

const oneLine = (text: string): string => text.replace(/\s+/g, " ").replace(/\.?\s*$/, "");

/** Squawk's program for this machine, from an optional npm package. Undefined: there is none. */
export function squawkProgram(): string | undefined {
  try {
    return createRequire(import.meta.url).resolve(`@squawk-cli/${process.platform}-${process.arch}/bin/squawk`);
  } catch {
    return undefined;
  }
}

/** @returns undefined where squawk doesn't run. */
export async function squawk(files: ReadonlyMap<string, string>): Promise<SquawkFinding[] | undefined> {
  const program = squawkProgram();
  if (program === undefined) return undefined;
  if (files.size === 0) return [];
  const directory = await mkdtemp(join(tmpdir(), "togather-squawk-"));
  try {
    for (const [name, text] of files) await writeFile(join(directory, basename(name)), text);
    // Without a .squawk.toml of the current directory, and with an empty environment. Loaded here: most commands never
    // need it.
    const { execa } = await import("execa");
    const { stdout } = await execa(
      program,
      [
        "--reporter=json",
        "--pg-version=17.0",
        "--assume-in-transaction",
        "--",
        ...[...files.keys()].map((name) => basename(name)),
      ],
      {
        cwd: directory,
        env: {},
        extendEnv: false,
        reject: false,
        stdin: "ignore",
        timeout: 30_000,
      },
    );
    const report = reportSchema.safeParse(stdout === "" ? undefined : JSON.parse(stdout));
    if (!report.success) return undefined;
    return report.data
      .filter(({ rule_name }) => !left.has(rule_name))
      .map(({ file, line, message, help, rule_name }) => ({
        file: basename(file),
        line: line + 1,
        rule: `squawk/${rule_name}`,
        why: oneLine(message),
        safe: oneLine(help ?? ""),
      }));
  } catch {
    return undefined;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
