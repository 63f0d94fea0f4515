/**
 * Checks that a database can still be backed up: a release whose migrations make every later snapshot useless must stop
 * before them.
 */
import { pipeline } from "node:stream/promises";
import { PassThrough } from "node:stream";
import { execa } from "execa";
import pg from "pg";
import { connectionEnvironment, type Connection } from "../../contract/connection.ts";
import type { StepContext } from "../../contract/context.ts";
import { majorOf, type DatabaseServer } from "../database/database-server.ts";
import { createDatabaseLike, dropScratchDatabase } from "../database/make-database.ts";
import { knowsSettings, withoutNewerSettings, withoutSuperuserStatements } from "./dump-filter.ts";
import { messageOf, StepError } from "../../contract/errors.ts";
import { loadingPsql } from "./load-directory.ts";
import { failureOf, succeed } from "../../contract/programs.ts";
import { deniedBy, saysNotFound, scratchName, searchPathHint } from "../database/scratch-database.ts";
import { connect, ownSchemas } from "../database/sql.ts";
import { withClientFor } from "../database/postgres-client.ts";

/** Rows of each table on which expressions are tried, as a load would compute them. */
const sampleRows = 1_000;
/** Longest try of one expression, in ms. */
const sampleMs = 10_000;

const applicationName = "togather-backup-check";

interface Subject {
  server: DatabaseServer;
  /** The database, as the role that takes snapshots. */
  connection: Connection;
  deployment: string;
}

/** Tables of which the role that takes snapshots would see only some rows: pg_dump refuses them. */
async function hiddenTables(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT oid::regclass::text AS name FROM pg_catalog.pg_class WHERE relkind IN ('r', 'p') AND relnamespace IN ${ownSchemas} AND row_security_active(oid) ORDER BY 1`,
  );
  return rows.map(({ name }) => name);
}

/**
 * Expressions that a load computes row by row: generated columns, indexes, constraints. With an empty search path,
 * PostgreSQL prints all names with their schema.
 */
const expressions = `
  SELECT 'the generated column ' || attname AS what, adrelid AS oid, pg_get_expr(adbin, adrelid) AS expression FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum WHERE attgenerated <> ''
  UNION ALL
  SELECT 'the index ' || indexrelid::regclass, indrelid, pg_get_indexdef(indexrelid, n, false) FROM pg_index, generate_series(1, indnatts) n WHERE indkey[n - 1] = 0
  UNION ALL
  SELECT 'the index ' || indexrelid::regclass, indrelid, pg_get_expr(indpred, indrelid) FROM pg_index WHERE indpred IS NOT NULL
  UNION ALL
  SELECT 'the constraint ' || conname, conrelid, pg_get_expr(conbin, conrelid) FROM pg_constraint WHERE contype = 'c' AND conrelid <> 0
  UNION ALL
  SELECT 'the partition bound', oid, pg_get_partition_constraintdef(oid) FROM pg_class WHERE relispartition
  UNION ALL
  SELECT format('the domain %s of the column %s', d.oid::regtype, attname), attrelid, format('%I::text::%s', attname, d.oid::regtype)
    FROM pg_attribute JOIN pg_type d ON d.oid = atttypid WHERE d.typtype = 'd' AND attnum > 0 AND NOT attisdropped`;

/** Materialized views, which a load fills by their queries. */
const views = `SELECT c.oid::regclass::text AS name, rtrim(pg_get_viewdef(c.oid), ';') AS query FROM pg_class c WHERE c.relkind = 'm' AND c.relispopulated AND c.relnamespace IN ${ownSchemas}`;

/** An object that does not load. */
interface Lost {
  kind: "expression" | "schema";
  said: string;
}

/** The first expression that refers to a missing name. */
async function lostExpression(client: pg.Client): Promise<Lost | undefined> {
  const { rows } = await client.query<{ what: string; name: string; expression: string }>(
    `SELECT what, c.oid::regclass::text AS name, expression FROM (${expressions}) e JOIN pg_class c USING (oid) WHERE c.relkind = 'r' AND c.relnamespace IN ${ownSchemas}`,
  );
  const { rows: filled } = await client.query<{ name: string; query: string }>(views);
  const tries = [
    ...rows.map(({ what, name, expression }) => ({
      what: `${what} of ${name}`,
      query: `SELECT (${expression}) AS tried FROM ONLY ${name}`,
    })),
    ...filled.map(({ name, query }) => ({
      what: `the materialized view ${name}`,
      query: `SELECT tried FROM (${query}) tried`,
    })),
  ];
  for (const { what, query } of tries) {
    try {
      await client.query(`SELECT count(tried) FROM (${query} LIMIT ${sampleRows}) sample`);
    } catch (error) {
      const state = error instanceof pg.DatabaseError ? (error.code ?? "") : "";
      // Other errors of current rows have nothing to do with backups.
      if (/^(42883|42P01|42704|3F000)$/.test(state))
        return { kind: "expression", said: `${what}: ${messageOf(error)}` };
    }
  }
  return undefined;
}

/**
 * Dumps the schema and loads it into another database, which is dropped afterwards.
 * @returns psql's error where that fails.
 */
async function lostSchema(
  { server, connection, deployment }: Subject,
  context: StepContext,
): Promise<Lost | undefined> {
  const { env, signal } = withClientFor(context, majorOf(server));
  const database = scratchName(deployment);
  await createDatabaseLike(server, connection.database, database);
  try {
    const stop = new AbortController();
    const cancelSignal = AbortSignal.any([signal, stop.signal]);
    const dumping = execa("pg_dump", ["--format=plain", "--schema-only", "--no-password", "--lock-wait-timeout=60s"], {
      ...{ extendEnv: false, cancelSignal, reject: false, stdin: "ignore", buffer: { stdout: false } },
      env: { PATH: env["PATH"], LANG: "C.UTF-8", ...connectionEnvironment(connection, applicationName) },
    });
    const psql = loadingPsql({ ...server.connection, database }, { env, signal: cancelSignal });
    const filters = [
      knowsSettings(server.version) ? new PassThrough() : withoutNewerSettings(),
      server.superuser ? new PassThrough() : withoutSuperuserStatements(),
    ] as const;
    const feeding = pipeline(dumping.stdout, ...filters, psql.stdin).catch(() => undefined);
    const failure = await failureOf(psql, "loading");
    if (failure !== undefined) stop.abort();
    await feeding;
    signal.throwIfAborted();
    if (failure !== undefined) return { kind: "schema", said: failure.message };
    await succeed(dumping, "pg_dump", signal);
    return undefined;
  } finally {
    await dropScratchDatabase(server, database).catch((error: unknown) => {
      context.log.warn(`rehearsal: ${database} is left behind, the next run drops it: ${messageOf(error)}`);
    });
  }
}

/**
 * Checks that a snapshot of a database can be taken and loaded.
 * @returns the problem and its remedy. Undefined: none.
 */
export async function backupProblem(subject: Subject, context: StepContext): Promise<StepError | undefined> {
  const { connection } = subject;
  const client = await connect(connection, applicationName);
  try {
    const [hidden] = await hiddenTables(client);
    if (hidden !== undefined) {
      const role = pg.escapeIdentifier(connection.user);
      return new StepError(
        `no snapshot could be taken any more: row-level security of ${hidden} holds for the role ${connection.user}, which takes them, and pg_dump refuses to leave rows out`,
        {
          hint: `leave out FORCE ROW LEVEL SECURITY: the server's own role, which does not own the tables, needs none; or, as a superuser of the database: ALTER ROLE ${role} BYPASSRLS;`,
        },
      );
    }
    await client.query(
      "SELECT pg_catalog.set_config('search_path', '', false), pg_catalog.set_config('statement_timeout', $1, false)",
      [String(sampleMs)],
    );
    const lost = (await lostExpression(client)) ?? (await lostSchema(subject, context));
    if (lost === undefined) return undefined;
    const isName = lost.kind === "expression" || saysNotFound(lost.said);
    return (
      deniedBy(lost.said, subject.server.connection.user) ??
      new StepError(
        `a snapshot of the database as it will be does not load by itself: ${lost.said}`,
        isName ? { hint: searchPathHint } : {},
      )
    );
  } finally {
    await client.end().catch(() => undefined);
  }
}
