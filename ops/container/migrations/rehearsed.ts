/**
 * Results of the last rehearsal by file, in the state directory; the migration that follows uses them. They count only
 * for a file with the same content, on a database whose version has not changed since.
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
  /** golang-migrate's version before the rehearsal. */
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

/** The rehearsal's results for the files that are about to be applied. */
export async function measuredFiles(
  { database, version }: Rehearsed,
  files: Pick<MigrationFiles, "directory" | "up">,
  context: Pick<StepContext, "paths">,
): Promise<Map<string, Measured>> {
  const text = await readFile(recordOf(context), "utf8").catch(() => undefined);
  const record = text === undefined ? undefined : rehearsedSchema.safeParse(safeJson(text)).data;
  const measured = new Map<string, Measured>();
  // Earlier files may have been applied meanwhile, by a run that failed at a later file.
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
