/**
 * The migrations that a database has, by name. golang-migrate stores one number only, the highest: it silently skips a
 * file with a lower number that is added later (merged late, from another branch, numbered by time), for good. The
 * applied files are therefore recorded in the state directory. Without a record, the releases in both slots tell.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import type { Connection } from "../../contract/connection.ts";
import type { StepContext } from "../../contract/context.ts";
import { messageOf } from "../../contract/errors.ts";
import { writeFileAtomically } from "../files.ts";
import { versionOf, type MigrationFile } from "../../contract/migrations.ts";
import { type KnownQuestion, knownAnswerSchema } from "../../contract/questions.ts";

const recordSchema = z.record(z.string(), z.array(z.strictObject({ version: z.number(), file: z.string() })));
type Applied = z.infer<typeof recordSchema>;

const fileOf = ({ paths }: Pick<StepContext, "paths">): string => join(paths.state, "applied-migrations.json");
/** The key of a database in the record. */
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

/** A database with golang-migrate's version. */
interface Database {
  connection: Connection;
  version: number | null;
}

/** Adds files above the recorded ones: a person has migrated by hand, presumably with these files. */
function withByHand(known: readonly string[], up: readonly MigrationFile[]): Set<string> {
  const highest = Math.max(-1, ...known.map(versionOf));
  return new Set([...known, ...up.flatMap((own) => (own.version > highest ? [own.file] : []))]);
}

/**
 * Names of the files that a database has.
 * @param up the release's own files.
 * @param ask asks for the files of the releases in the slots.
 * @returns undefined where it is unknown.
 */
export async function appliedFiles(
  { connection, version }: Database,
  up: readonly MigrationFile[],
  context: Pick<StepContext, "paths" | "log">,
  ask: (question: KnownQuestion) => Promise<unknown>,
): Promise<Set<string> | undefined> {
  const recorded = (await readRecord(context))[keyOf(connection)];
  // Files above the current version were undone, by a restore for example.
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
 * Records the files of a database after some were applied. Call it under golang-migrate's lock.
 * @param version the database's version now.
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
