/**
 * Which migrations a database has, by name. golang-migrate keeps one number, the highest: a file with a lower one that comes later (merged late,
 * from another branch, by a time in its name) is passed over without a word, for good. So what is applied is written down here, in the state
 * directory; where nothing is yet, the releases in both slots tell.
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
