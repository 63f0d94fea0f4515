/**
 * What PostgreSQL's own parser says about a release's migrations, beside the lint. The parser runs on the operator's machine; the facts travel
 * with the files to the steps that run them.
 */
import * as z from "zod";

/** The facts travel as this file, in front of the migrations' tar. */
export const factsFile = "togather-files.json";

const indexSchema = z.strictObject({
  /** Null where PostgreSQL chooses it. */
  name: z.string().nullable(),
  /** Of the table, as the statement has it; null where the search path decides. */
  schema: z.string().nullable(),
  table: z.string(),
  ifNotExists: z.boolean(),
});

export const fileFactsSchema = z.strictObject({
  /** The file is one transaction: an error in it leaves nothing behind. */
  oneTransaction: z.boolean(),
  /** It is one statement that waits for other transactions while nobody waits behind it: it may wait for as long as a statement may run. */
  waits: z.boolean(),
  /** It is one statement that can be run again when it has failed, once the invalid indexes that it has left are dropped. */
  runsAgain: z.boolean(),
  /** The indexes that it makes, on tables that it doesn't make. */
  indexes: z.array(indexSchema),
  /** Statements that act on the database server, not on the one database: line, and what it is. */
  beyond: z.array(z.strictObject({ line: z.number().int(), what: z.string() })),
  /** Where each statement begins, from 1. */
  lines: z.array(z.number().int()),
});
export type FileFacts = z.infer<typeof fileFactsSchema>;

/** By name of the `up` file; null for one that the parser doesn't take. */
export const factsSchema = z.record(z.string(), fileFactsSchema.nullable());
export type Facts = z.infer<typeof factsSchema>;
