/** The rules of the lint of migrations. The table in docs/migrations.md is tested against this one. */

/** `error` stops a deployment where `migrationLint` is `error`; a `warning` never does. */
export type Level = "error" | "warning";

export interface Rule {
  level: Level;
  /** The harm to the data, or to the release that still serves while the migration runs. */
  why: string;
  /** How to do it instead. */
  safe: string;
  /** It is about locks alone: a warning where the rehearsal has found them short. */
  lock?: true;
}

export const rules = {
  syntax: {
    level: "error",
    why: "PostgreSQL 17's own parser doesn't take it",
    safe: "correct the statement",
  },
  "drop-table": {
    level: "error",
    why: "the release that serves fails without it, and its rows are gone",
    safe: "drop it in a later release, once nothing that can still serve reads it",
  },
  "drop-column": {
    level: "error",
    why: "the release that serves fails without it, and its values are gone",
    safe: "stop using it in this release, drop it in a later one",
  },
  "drop-type": {
    level: "error",
    why: "the release that serves may cast to it",
    safe: "drop it in a later release",
  },
  "drop-object": {
    level: "error",
    why: "a view, function, sequence, schema or extension that the release that serves may use is gone",
    safe: "CREATE OR REPLACE it in a way that serves both releases, drop it in a later one",
  },
  "drop-index-blocking": {
    level: "error",
    lock: true,
    why: "waits for all transactions that use the table, and everything else waits behind it",
    safe: "DROP INDEX CONCURRENTLY, alone in its file",
  },
  "drop-constraint": {
    level: "error",
    why: "an ON CONFLICT of the release that serves fails without a unique constraint, and it may rely on what another one refuses",
    safe: "drop it in a later release; a CHECK or foreign key that the same file adds again under its name is taken for a change",
  },
  "drop-default": {
    level: "error",
    why: "rows that the release that serves inserts without a value are null, or refused",
    safe: "drop it in a later release, once nothing that can still serve leaves the column out",
  },
  "drop-expression": {
    level: "error",
    why: "the release that serves never writes the column, which the database computed until now: it is null in its new rows",
    safe: "add a plain column beside it, write both, drop the old one in a later release",
  },
  "drop-trigger": {
    level: "error",
    why: "a trigger, policy or rule on which the release that serves may rely is gone or disabled",
    safe: "drop it in a later release; one that the same file makes again under its name is taken for a change",
  },
  "row-security": {
    level: "error",
    why: "the release that serves sees and writes only rows that a policy lets it, none where there is no policy; with FORCE no snapshot can be taken by the owner",
    safe: "in a later release than the policies and what sets the session for them, tried in staging",
  },
  revoke: {
    level: "error",
    why: "the release that serves may need the right",
    safe: "revoke it in a later release",
  },
  "alter-domain": {
    level: "error",
    why: "all tables that use the domain are checked while nothing can be written to them, and values that the release that serves writes may be refused",
    safe: "ADD CONSTRAINT … NOT VALID and VALIDATE CONSTRAINT in a later file, once nothing that can still serve writes such values",
  },
  "beyond-database": {
    level: "error",
    why: "acts on the database server, or outside of it, so that no rehearsal on a copy holds it back: from this file on nothing is rehearsed, and no restore takes it back",
    safe: "leave it to whoever runs the server, or to the settings of the deployment",
  },
  "out-of-order": {
    level: "error",
    why: "its number is below the schema's version, and golang-migrate passes over it for good",
    safe: "give it a higher number; allow it in the stack file where a person has applied it",
  },
  rename: {
    level: "error",
    why: "the release that serves knows the old name only",
    safe: "add the new one beside it, write both, drop the old one in a later release (a table: leave a view with the old name)",
  },
  "not-null-without-default": {
    level: "error",
    why: "fails on a table with rows, and rows that the release that serves inserts are refused",
    safe: "ADD COLUMN … NOT NULL DEFAULT a constant, or let it be null",
  },
  "set-not-null": {
    level: "error",
    why: "reads the whole table while nothing else may use it; rows that the release that serves writes without a value are refused",
    safe: "ADD CONSTRAINT … CHECK (column IS NOT NULL) NOT VALID; VALIDATE CONSTRAINT in a later file; then SET NOT NULL takes the constraint's word, with an allow comment",
  },
  "change-type": {
    level: "error",
    why: "rewrites the table and its indexes while nothing else may use it, unless the types are stored alike; the release that serves expects the old type",
    safe: "add a column of the new type, write both, fill the old rows in batches, drop the old one in a later release",
  },
  "volatile-default": {
    level: "error",
    lock: true,
    why: "a value computed for each row rewrites the whole table while nothing else may use it",
    safe: "ADD COLUMN without it, ALTER COLUMN … SET DEFAULT for new rows, fill the old ones in batches outside of the migrations",
  },
  "blocking-index": {
    level: "error",
    lock: true,
    why: "nothing can be written to the table while the index is built",
    safe: "CREATE INDEX CONCURRENTLY, alone in its file",
  },
  "concurrently-with-others": {
    level: "error",
    why: "several statements in one file are one transaction, in which CONCURRENTLY can't run",
    safe: "put the statement into a file of its own",
  },
  "unique-constraint": {
    level: "error",
    lock: true,
    why: "its index is built while nothing else may use the table",
    safe: "CREATE UNIQUE INDEX CONCURRENTLY in a file of its own, then ADD CONSTRAINT … UNIQUE USING INDEX (an EXCLUDE constraint has no such way)",
  },
  "primary-key": {
    level: "error",
    lock: true,
    why: "its index is built, and the columns are checked for nulls, while nothing else may use the table",
    safe: "make the columns NOT NULL as set-not-null says, CREATE UNIQUE INDEX CONCURRENTLY, then ADD PRIMARY KEY USING INDEX",
  },
  "constraint-not-valid": {
    level: "error",
    lock: true,
    why: "all rows are checked while nothing can be written to the table",
    safe: "ADD CONSTRAINT … NOT VALID, and VALIDATE CONSTRAINT in a later file",
  },
  "validate-beside": {
    level: "error",
    lock: true,
    why: "in one file with other changes of the table, their locks are held while all rows are checked",
    safe: "put VALIDATE CONSTRAINT into a file of its own",
  },
  truncate: {
    level: "error",
    why: "all rows are gone, and the release that serves still reads them",
    safe: "don't; a table that is no longer used is dropped in a later release",
  },
  backfill: {
    level: "error",
    lock: true,
    why: "every row is written in one transaction: its locks stay until the end, and the table grows to twice its size",
    safe: "write in batches outside of the migrations, e.g. in a job of the server",
  },
  "backfill-where": {
    level: "warning",
    why: "the locks of all rows that the condition meets stay until the end of the file, however many they are",
    safe: "write in batches outside of the migrations; allow it where the rows are known to be few",
  },
  "lock-table": {
    level: "error",
    lock: true,
    why: "the lock stays until the end of the file, and requests wait behind it",
    safe: "leave it out: each statement takes the locks it needs",
  },
  rewrite: {
    level: "error",
    lock: true,
    why: "rewrites or rebuilds the whole table or view while it can't be used",
    safe: "VACUUM without FULL, REINDEX and REFRESH MATERIALIZED VIEW with CONCURRENTLY, alone in their file",
  },
  transaction: {
    level: "warning",
    why: "a file is one transaction already; with its own BEGIN and COMMIT, one that fails half-way may leave its first half behind",
    safe: "leave them out, or cut the file in two",
  },
  timeout: {
    level: "warning",
    why: "replaces the limits that keep a migration from stopping the release that serves",
    safe: "leave lock_timeout and statement_timeout to the deployment",
  },
  unseen: {
    level: "warning",
    why: "the statements in a DO block can't be checked",
    safe: "write them out, or allow the block and say what it does",
  },
  "missing-down": {
    level: "warning",
    why: "nobody can take the migration back by hand; a deployment itself goes back by a restore",
    safe: "add the .down.sql file, with a comment that says why when nothing can be taken back",
  },
  "allow-without-reason": {
    level: "error",
    why: "who reads it later has to know why it was safe",
    safe: "-- togather:allow RULE and the reason",
  },
  "allow-unused": {
    level: "warning",
    why: "nothing below it breaks this rule, or there is no rule of this name",
    safe: "remove the comment, or correct the name",
  },
} as const satisfies Record<string, Rule>;
export type RuleName = keyof typeof rules;
