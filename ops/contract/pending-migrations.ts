/** Compares a release's migration files with a database whose version and applied files are known. */
import { StepError } from "./errors.ts";
import { waiverHint, type Waiver } from "./migration-findings.ts";
import { versionOf, type MigrationFile } from "./migrations.ts";

/** The state of a release's files in a database. */
export interface Pending {
  /** Files to apply, in order. */
  todo: MigrationFile[];
  /** Files that were never applied and never will be: a file with a higher number was applied before. */
  late: MigrationFile[];
  /** golang-migrate can't continue from a version whose file it doesn't have. */
  lost: boolean;
}

/** Files that the stack file allows to be out of order: a person has applied them. */
export const allowedLate = (waivers: readonly Waiver[]): Set<string> =>
  new Set(waivers.flatMap(({ file, rule }) => (rule === "out-of-order" ? [file] : [])));

/**
 * @param known names of the files that the database has. Undefined: unknown; then all files up to its version count as
 * applied.
 */
export function pendingOf(up: readonly MigrationFile[], version: number | null, known?: ReadonlySet<string>): Pending {
  const todo = up.filter((file) => file.version > (version ?? -1));
  const late =
    version === null || known === undefined
      ? []
      : up.filter((file) => file.version <= version && !known.has(file.file));
  return { todo, late, lost: version !== null && todo.length > 0 && !up.some((file) => file.version === version) };
}

/** Names that golang-migrate skips, in words. */
export const unreadText = (unread: readonly string[]): string =>
  `${unread.join(", ")} would never be applied: golang-migrate passes over ${unread.length === 1 ? "such a name" : "such names"} without a word (it reads 000001_name.up.sql, in small letters)`;

/** Names that the stack file does not allow. */
export const notAllowedUnread = (unread: readonly string[], waivers: readonly Waiver[]): string[] =>
  unread.filter((name) => !waivers.some(({ file, rule }) => file === name && rule === "not-read"));

/** @throws {StepError} where a file would be skipped for its name, unless the stack file allows it. */
export function refuseUnread(unread: readonly string[], waivers: readonly Waiver[] = []): void {
  const refused = notAllowedUnread(unread, waivers);
  const [first] = refused;
  if (first === undefined) return;
  throw new StepError(`${unreadText(refused)}. Nothing was changed`, {
    hint: `rename ${refused.length === 1 ? "it" : "them"}, commit that and release the commit; where ${refused.length === 1 ? "it is" : "they are"} not meant to be applied: ${waiverHint(first, "not-read")}`,
  });
}

/** The file's name with another number, in the same number format: `000008`. */
function renumbered({ file }: MigrationFile, number: number): string {
  const digits = /^\d+/.exec(file)?.[0] ?? "";
  return `${String(number).padStart(digits.length, "0")}${file.slice(digits.length)}`;
}

/** Late files, in words. */
export function lateText(late: readonly MigrationFile[], version: number, known: ReadonlySet<string>): string {
  const taken = late.flatMap((file) => [...known].filter((name) => versionOf(name) === file.version));
  const names = late.map(({ file }) => file).join(", ");
  const one = late.length === 1;
  const instead =
    taken.length === 0
      ? ""
      : ` (what was applied under ${one ? "its number" : "these numbers"} is ${taken.join(", ")})`;
  return `${names} ${one ? "was" : "were"} never applied${instead}, and ${one ? "has a number" : "have numbers"} that the schema is past: it is at version ${version}, and golang-migrate would pass over ${one ? "it" : "them"} for good`;
}

/**
 * Checks the files before anything runs.
 * @throws {StepError} where golang-migrate would skip a file, or can't continue.
 */
export function refuseUnreachable(
  { todo, late, lost }: Pending,
  {
    version,
    up,
    known,
    release,
    waivers = [],
  }: {
    version: number | null;
    up: readonly MigrationFile[];
    known: ReadonlySet<string> | undefined;
    release: string;
    waivers?: readonly Waiver[];
  },
): void {
  const allowed = allowedLate(waivers);
  const refused = late.filter(({ file }) => !allowed.has(file));
  const [first] = refused;
  if (first !== undefined && version !== null) {
    throw new StepError(`${lateText(refused, version, known ?? new Set())}. Nothing was changed`, {
      hint: `give ${refused.length === 1 ? "it" : "them"} a number above ${Math.max(version, ...up.map((file) => file.version))} (git mv ${first.file} ${renumbered(first, Math.max(version, ...up.map((file) => file.version)) + 1)}, and its .down.sql), commit that and release the commit; where a person has applied ${refused.length === 1 ? "it" : "them"}: ${waiverHint(first.file, "out-of-order")}`,
    });
  }
  if (!lost || version === null) return;
  const older = up.findLast((file) => file.version < version)?.file ?? "none";
  throw new StepError(
    `the schema is at version ${version}, and ${release} has no migration of that number (below it: ${older}; above it: ${todo.map(({ file }) => file).join(", ")}): they were renumbered or squashed after they were applied, or another branch's was applied here. golang-migrate can't go on from a version whose file it doesn't have. Nothing was changed`,
    {
      hint: `have a file of version ${version} among the migrations again (the one that was applied), commit that and release the commit`,
    },
  );
}
