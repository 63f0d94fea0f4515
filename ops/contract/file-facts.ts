/**
 * Facts about a release's migrations from PostgreSQL's own parser, beside the lint. The parser runs on the operator's
 * machine; the facts are sent with the files to the steps that run them.
 */
import * as z from "zod";

/** Name of the file with the facts, at the beginning of the migrations' tar. */
export const factsFile = "togather-files.json";

const indexSchema = z.strictObject({
  /** Null: PostgreSQL chooses it. */
  name: z.string().nullable(),
  /** Schema of the table, as the statement has it. Null: the search path decides. */
  schema: z.string().nullable(),
  table: z.string(),
  ifNotExists: z.boolean(),
});

export const fileFactsSchema = z.strictObject({
  /** The file is one transaction: an error rolls back all of it. */
  oneTransaction: z.boolean(),
  /**
   * It is one statement that waits for other transactions while nobody waits behind it: it may wait as long as a
   * statement may run.
   */
  waits: z.boolean(),
  /**
   * It is one statement that can be run again after a failure, once the invalid indexes that it has left are dropped.
   */
  runsAgain: z.boolean(),
  /** Indexes that it creates on existing tables. */
  indexes: z.array(indexSchema),
  /** Statements that act on the whole database server: line and description. */
  beyond: z.array(z.strictObject({ line: z.number().int(), what: z.string() })),
  /** First line of each statement, from 1. */
  lines: z.array(z.number().int()),
});
export type FileFacts = z.infer<typeof fileFactsSchema>;

/** By name of the `up` file. Null: the parser rejects it. */
export const factsSchema = z.record(z.string(), fileFactsSchema.nullable());
export type Facts = z.infer<typeof factsSchema>;
