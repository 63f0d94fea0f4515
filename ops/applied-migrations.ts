/**
 * Which migrations a database has, by name. golang-migrate keeps one number, the highest: a file with a lower one that comes later (merged late,
 * from another branch, by a time in its name) is passed over without a word, for good. So what is applied is written down here, in the state
 * directory; where nothing is yet, the releases in both slots tell.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import type { Connection } from "./connection.ts";
import type { StepContext } from "./context.ts";
import { messageOf, StepError } from "./errors.ts";
import { writeFileAtomically } from "./files.ts";
import { waiverHint, type Waiver } from "./migration-findings.ts";
import type { MigrationFile } from "./migrations.ts";

/** What a step asks its client. */
export const knownQuestionSchema = z.strictObject({ do: z.literal("list the slots' migrations") });
export type KnownQuestion = z.infer<typeof knownQuestionSchema>;
/** Names of the `up` files of all releases in the slots; null where there are none, or they can't be listed. */
export const knownAnswerSchema = z.union([
  z.strictObject({ files: z.array(z.string()).nullable() }),
  z.strictObject({ problem: z.string() }),
]);

const recordSchema = z.record(z.string(), z.array(z.strictObject({ version: z.number(), file: z.string() })));
type Applied = z.infer<typeof recordSchema>;

const fileOf = ({ paths }: Pick<StepContext, "paths">): string => join(paths.state, "applied-migrations.json");
/** By which a database is known here. */
export const keyOf = ({ host, port, database }: Connection): string => `${host}:${port}/${database}`;

async function readRecord(context: Pick<StepContext, "paths" | "log">): Promise<Applied> {
  const text = await readFile(fileOf(context), "utf8").catch(() => undefined);
  if (text === undefined) return {};
  try {
    return recordSchema.parse(JSON.parse(text));
  } catch (error) {
    context.log.warn(`${fileOf(context)} can't be read, and is written anew: ${messageOf(error).split("\n")[0] ?? ""}`);
    return {};
  }
}

/** A database as golang-migrate sees it. */
interface Database {
  connection: Connection;
  version: number | null;
}

const versionOf = (file: string): number => Number(/^\d+/.exec(file)?.[0] ?? Number.NaN);

/** Above what is known to be there, a person has migrated: with these files, as far as anybody can tell. */
function withByHand(known: readonly string[], up: readonly MigrationFile[]): Set<string> {
  const highest = Math.max(-1, ...known.map(versionOf));
  return new Set([...known, ...up.flatMap((own) => (own.version > highest ? [own.file] : []))]);
}

/**
 * Names of the files that a database has.
 * @param up the release's own.
 * @param ask for those of the releases in the slots.
 * @returns undefined where nobody knows.
 */
export async function appliedFiles(
  { connection, version }: Database,
  up: readonly MigrationFile[],
  context: Pick<StepContext, "paths" | "log">,
  ask: (question: KnownQuestion) => Promise<unknown>,
): Promise<Set<string> | undefined> {
  const recorded = (await readRecord(context))[keyOf(connection)];
  // What lies above the version was undone, by a restore for example.
  if (recorded !== undefined)
    return withByHand(
      recorded.filter((one) => one.version <= (version ?? -1)).map(({ file }) => file),
      up,
    );
  const answer = knownAnswerSchema.parse(await ask({ do: "list the slots' migrations" }));
  if ("problem" in answer) {
    context.log.debug(`the migrations of the releases in the slots are not known: ${answer.problem}`);
    return undefined;
  }
  return answer.files === null ? undefined : withByHand(answer.files, up);
}

/**
 * Writes down what a database has, once files were applied. Under golang-migrate's lock.
 * @param version of the database now.
 */
export async function noteApplied(
  { connection, version }: Database,
  {
    before,
    known,
    up,
  }: { before: number | null; known: ReadonlySet<string> | undefined; up: readonly MigrationFile[] },
  context: Pick<StepContext, "paths" | "log">,
): Promise<void> {
  const record = await readRecord(context);
  const kept = (record[keyOf(connection)] ?? []).filter((one) => one.version <= (before ?? -1));
  const has = new Set(kept.map(({ file }) => file));
  const own = up.filter(
    (one) =>
      one.version <= (version ?? -1) && (one.version > (before ?? -1) || known === undefined || known.has(one.file)),
  );
  const seeded =
    kept.length > 0 || known === undefined
      ? []
      : [...known].flatMap((file) => {
          const number = versionOf(file);
          return number <= (before ?? -1) ? [{ version: number, file }] : [];
        });
  const all = [...kept, ...seeded, ...own]
    .filter((one, i, list) => list.findIndex(({ file }) => file === one.file) === i)
    .sort((a, b) => a.version - b.version);
  if (all.length === has.size && record[keyOf(connection)]?.length === all.length) return;
  await writeFileAtomically(
    fileOf(context),
    `${JSON.stringify({ ...record, [keyOf(connection)]: all }, null, 2)}\n`,
  ).catch((error: unknown) => {
    context.log.warn(`${fileOf(context)} can't be written: ${messageOf(error)}`);
  });
}

/** What a release's files mean for a database. */
export interface Pending {
  /** To be applied, in order. */
  todo: MigrationFile[];
  /** Never applied, and never to be: another file had a higher number. */
  late: MigrationFile[];
  /** golang-migrate can't go on from a version whose file it doesn't have. */
  lost: boolean;
}

/** Files that the stack file allows to be out of order: a person has applied them. */
export const allowedLate = (waivers: readonly Waiver[]): Set<string> =>
  new Set(waivers.flatMap(({ file, rule }) => (rule === "out-of-order" ? [file] : [])));

/** @param known names of the files that the database has; undefined where nobody knows: then all that are not above its version. */
export function pendingOf(up: readonly MigrationFile[], version: number | null, known?: ReadonlySet<string>): Pending {
  const todo = up.filter((file) => file.version > (version ?? -1));
  const late =
    version === null || known === undefined
      ? []
      : up.filter((file) => file.version <= version && !known.has(file.file));
  return { todo, late, lost: version !== null && todo.length > 0 && !up.some((file) => file.version === version) };
}

/** The next number, written like a file's own: `000008`. */
function renumbered({ file }: MigrationFile, number: number): string {
  const digits = /^\d+/.exec(file)?.[0] ?? "";
  return `${String(number).padStart(digits.length, "0")}${file.slice(digits.length)}`;
}

/** What is late, in words. */
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
 * Before anything runs.
 * @throws {StepError} where golang-migrate would pass over a file, or can't go on.
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
