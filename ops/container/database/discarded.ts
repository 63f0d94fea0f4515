/**
 * A record, in the state directory, of replaced databases that were dropped. With it, a name that is given again after
 * a kill can be told from a mistyped one.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import type { StepContext } from "../../contract/context.ts";
import { messageOf } from "../../contract/errors.ts";
import { writeFileAtomically } from "../files.ts";

const recordSchema = z.strictObject({ dropped: z.array(z.string()) });
/** Names that are kept: the latest ones. */
const kept = 100;

const recordOf = ({ paths }: Pick<StepContext, "paths">): string => join(paths.state, "discarded.json");

/** Names of databases that `discard` has dropped or was about to drop. Empty where the record can't be read. */
export async function discardedDatabases(context: Pick<StepContext, "paths">): Promise<string[]> {
  try {
    return recordSchema.parse(JSON.parse(await readFile(recordOf(context), "utf8"))).dropped;
  } catch {
    return [];
  }
}

/** Records that a database is about to be dropped. A full disk does not stop the drop. */
export async function noteDiscarded(context: Pick<StepContext, "paths" | "log">, database: string): Promise<void> {
  const before = (await discardedDatabases(context)).filter((name) => name !== database);
  const dropped = [...before, database].slice(-kept);
  await writeFileAtomically(recordOf(context), `${JSON.stringify({ dropped }, null, 2)}\n`).catch((error: unknown) => {
    context.log.warn(
      `${recordOf(context)} can't be written (${messageOf(error)}): the same command again will not know the name`,
    );
  });
}
