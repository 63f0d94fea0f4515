/**
 * What the last rehearsal has found of each file, in the state directory: the migration that comes after it goes by that. A file counts by its
 * content, on a database that has not moved since.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import type { StepContext } from "../../contract/context.ts";
import { messageOf } from "../../contract/errors.ts";
import { writeFileAtomically } from "../files.ts";
import type { MigrationFiles } from "./golang-migrate.ts";
import type { Measured } from "../../contract/migration-findings.ts";

const rehearsedSchema = z.strictObject({
  database: z.string(),
  /** golang-migrate's, before. */
  version: z.number(),
  files: z.array(
    z.strictObject({
      file: z.string(),
      sha256: z.string(),
      heldMs: z.number(),
      durationMs: z.number(),
      lostUnique: z.array(z.string()),
    }),
  ),
});

/** The database and its version before the files. */
export interface Rehearsed {
  database: string;
  version: number;
}

const recordOf = ({ paths }: Pick<StepContext, "paths">): string => join(paths.state, "rehearsed.json");
const digestOf = async ({ directory }: Pick<MigrationFiles, "directory">, file: string): Promise<string> =>
  createHash("sha256")
    .update(await readFile(join(directory, file)))
    .digest("hex");

export async function noteRehearsed(
  of: Rehearsed,
  measured: ReadonlyMap<string, Measured>,
  files: Pick<MigrationFiles, "directory">,
  context: Pick<StepContext, "paths" | "log">,
): Promise<void> {
  const list = await Promise.all(
    [...measured].map(async ([file, one]) => ({ file, sha256: await digestOf(files, file), ...one })),
  );
  await writeFileAtomically(recordOf(context), `${JSON.stringify({ ...of, files: list }, null, 2)}\n`).catch(
    (error: unknown) => {
      context.log.warn(`${recordOf(context)} can't be written: ${messageOf(error)}`);
    },
  );
}

/** What is known of the files that are to be applied. */
export async function measuredFiles(
  { database, version }: Rehearsed,
  files: Pick<MigrationFiles, "directory" | "up">,
  context: Pick<StepContext, "paths">,
): Promise<Map<string, Measured>> {
  const text = await readFile(recordOf(context), "utf8").catch(() => undefined);
  const record = text === undefined ? undefined : rehearsedSchema.safeParse(safeJson(text)).data;
  const measured = new Map<string, Measured>();
  // What came before it may have been applied meanwhile, by a run that failed further on.
  if (record?.database !== database || record.version > version) return measured;
  for (const { file } of files.up) {
    const found = record.files.find((one) => one.file === file);
    if (found === undefined || found.sha256 !== (await digestOf(files, file))) continue;
    measured.set(file, { heldMs: found.heldMs, durationMs: found.durationMs, lostUnique: found.lostUnique });
  }
  return measured;
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
