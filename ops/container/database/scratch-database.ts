/** A temporary database on the same server, in which a snapshot is restored and checked. */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { StepContext } from "../../contract/context.ts";
import type { Connection } from "../../contract/connection.ts";
import { differences, readContents, type Contents } from "./database-contents.ts";
import { connectAsOwnerLooks, freeSpace, majorOf, missingRight, type DatabaseServer } from "./database-server.ts";
import { createDatabaseLike, dropScratchDatabase } from "./make-database.ts";
import { messageOf, StepError } from "../../contract/errors.ts";
import { addExtensions, checkForeign, copyDefaultRights } from "./foreign-contents.ts";
import { loadDump } from "../snapshots/load-dump.ts";
import type { Manifest } from "../../contract/manifest.ts";
import { formatBytes } from "../../contract/units.ts";
import { canRead, identityHint } from "../snapshots/unpack.ts";
import { madeByMajor, withClientFor } from "./postgres-client.ts";
import { serverError } from "../../contract/programs.ts";
import { connect } from "./sql.ts";

const prefixOf = (deployment: string): string => `togather_scratch_${deployment}_`;
/** A name for a scratch database. The next run drops it if this one can't. */
export const scratchName = (deployment: string): string => `${prefixOf(deployment)}${randomBytes(4).toString("hex")}`;

/**
 * Attributes for the restored database where the live one is gone. Roles and settings of another server are not used.
 */
export const attributesOf = ({ attributes, without_owners: foreign }: Manifest): Manifest["attributes"] =>
  foreign === undefined ? attributes : undefined;

/** A snapshot in a scratch database. */
export interface Restored {
  database: string;
  contents: Contents;
  /** It was loaded with the servers' search path: without it, the load fails. */
  needsSearchPath: boolean;
  /** Ends the connection to it: call this before it is renamed, which needs a database without connections. */
  release: () => Promise<void>;
}
/** Minimum space that a restore needs beside the data, in bytes: WAL, and sorting for indexes. */
const smallestReserve = 256 * 1024 * 1024;

/** The server doesn't allow the restore. The snapshot is not to blame. */
export class NotAllowed extends StepError {}

/**
 * Name of the connection that a run keeps to its scratch database. With it, a deployment of the same name on another
 * host, with the same server, leaves the database alone.
 */
const keeperName = "togather-scratch-keeper";
/** Longest time between the creation of a scratch database and its keeper's connection, in ms. */
const keeperMs = 2_000;

class Keeper {
  private client: pg.Client | undefined;
  private readonly connection: Connection;
  constructor({ connection }: DatabaseServer, database: string) {
    this.connection = { ...connection, database };
  }
  async open(): Promise<void> {
    this.client = await connect(this.connection, keeperName);
  }
  async close(): Promise<void> {
    await this.client?.end().catch(() => undefined);
    this.client = undefined;
  }
}

/** Scratch databases that a killed run seems to have left. */
async function leftovers({ client }: DatabaseServer, deployment: string): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    `SELECT datname AS name FROM pg_database d WHERE starts_with(datname, $1) AND datname ~ '_[0-9a-f]{8}$'
        AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid AND a.application_name = $2)`,
    [prefixOf(deployment), keeperName],
  );
  return rows.map(({ name }) => name);
}

/**
 * Drops scratch databases that killed runs of a deployment have left. The snapshot lock is held, so that no other run
 * on this host has one.
 */
async function dropLeftovers(server: DatabaseServer, deployment: string, { log, signal }: StepContext): Promise<void> {
  const seen = await leftovers(server, deployment);
  if (seen.length === 0) return;
  await sleep(keeperMs, undefined, { signal });
  const still = await leftovers(server, deployment);
  for (const name of seen.filter((one) => still.includes(one))) {
    try {
      await dropScratchDatabase(server, name);
      log.info(`restore: ${name} was left by a run that was killed, dropped`);
    } catch (error) {
      // An old copy that can't be dropped is no reason to skip the proof of today's snapshot.
      log.warn(`restore: ${name} was left by a run that was killed, and can't be dropped: ${messageOf(error)}`, {
        hint: `as a superuser of the database: DROP DATABASE ${pg.escapeIdentifier(name)} WITH (FORCE);`,
      });
    }
  }
}

/** English wording of a denied right, for programs that don't report the SQLSTATE. */
const deniedWords =
  /^(permission denied|must be (an? )?(superuser|owner|member|able to )|must have (\w+ privilege|privileges of|admin option)|only (superusers?|roles) )/i;

/**
 * The error for a right that the server denied, in the server's words. Undefined: another error. psql reports the
 * SQLSTATE (42501: insufficient privilege), pg_restore only the words.
 */
export function deniedBy(message: string, role: string): NotAllowed | undefined {
  const { sqlState, said } = serverError(message) ?? { sqlState: undefined, said: message };
  const beside = "a snapshot can't be restored beside the live database";
  // pg_cron checks the database's name.
  if (/^can only create extension in database /.test(said))
    return new NotAllowed(`${beside}: one of its extensions can be in one database of a server only: ${said}`, {
      hint: "for pg_cron: SELECT * FROM cron.job; then DROP EXTENSION pg_cron; there, cron.database_name = 'postgres' on the database server, and cron.schedule_in_database() in that one",
    });
  const denied = sqlState === undefined ? deniedWords.test(said) : sqlState === "42501";
  if (!denied) return undefined;
  const [, extension] = /^permission denied to create extension "(.*?)"/.exec(said) ?? [];
  if (extension !== undefined)
    return new NotAllowed(`${beside}: role ${role} may not create the extension ${extension}`, {
      hint: "DATABASE_ADMIN_URL of a role that may; or make the extension trusted on the database server",
    });
  const [, other] = /^must be (?:a )?(?:member of role|able to SET ROLE) "(.*)"/.exec(said) ?? [];
  const grant =
    other === undefined
      ? "DATABASE_ADMIN_URL of a role that may: a superuser, or the administrator that the managed database came with"
      : `GRANT ${pg.escapeIdentifier(other)} TO ${pg.escapeIdentifier(role)}; on the database server, or DATABASE_ADMIN_URL of a role that has it`;
  return new NotAllowed(`${beside}: role ${role} may not do what it takes: ${said}`, { hint: grant });
}

/** Whether a database error says that a name was not found: a function, a table, a type. */
export function saysNotFound(message: string): boolean {
  const { sqlState, said } = serverError(message) ?? { sqlState: undefined, said: message };
  return sqlState === undefined
    ? /^(function|relation|type|operator|schema) .* does not exist/.test(said)
    : /^(42883|42P01|42704|3F000)$/.test(sqlState);
}

/** Hint for a database whose dumps load only with a search path. */
export const searchPathHint =
  "write the schema before each name in that function's body (public.NAME), or give it a path of its own: ALTER FUNCTION … SET search_path = public, pg_temp";

/**
 * Loads a snapshot into a new database that `createDatabaseLike` made.
 * @returns whether the load needed the servers' search path: a dump itself sets an empty one.
 */
async function load(
  server: DatabaseServer,
  { database, keeper, manifest }: { database: string; keeper: Keeper; manifest: Manifest },
  stepContext: StepContext,
): Promise<{ needsSearchPath: boolean }> {
  const context = withClientFor(stepContext, majorOf(server), madeByMajor(manifest));
  const connection = { ...server.connection, database };
  const path = join(context.paths.backups, manifest.file);
  const foreign = manifest.without_owners !== undefined;
  // A role that is no superuser owns everything that it creates.
  const owner = foreign && server.superuser ? server.owner : undefined;
  const target = { connection, superuser: server.superuser, serverVersion: server.version, owner };
  const loadIt = async (over: { searchPath?: string }): Promise<void> => {
    if (foreign) await copyDefaultRights(server, database, context);
    await loadDump(path, manifest, { ...target, ...over }, context);
    if (owner !== undefined) await addExtensions(server, database);
  };
  try {
    await loadIt({});
    return { needsSearchPath: false };
  } catch (error) {
    const denied = deniedBy(messageOf(error), connection.user);
    if (denied !== undefined) throw denied;
    const [, role] = /^role "(.*)" does not exist/.exec(serverError(messageOf(error))?.said ?? "") ?? [];
    if (role !== undefined)
      throw new StepError(
        `the snapshot ${manifest.file} gives rights to the role ${role}, which the server has no more`,
        { hint: `as a superuser of the database: CREATE ROLE ${pg.escapeIdentifier(role)}; then the same again` },
      );
    if (!saysNotFound(messageOf(error))) throw error;
    // Where the live database is gone, its search path is unknown.
    const searchPath = server.searchPath ?? "public";
    context.log.warn(
      `restore: ${manifest.file} does not load by itself: ${messageOf(error)}. Loading it once more, with names looked up where servers do (${searchPath})`,
      { hint: searchPathHint },
    );
    await keeper.close();
    await dropScratchDatabase(server, database);
    await createDatabaseLike(server, server.live, database, attributesOf(manifest));
    await keeper.open();
    await loadIt({ searchPath }).catch((again: unknown) => {
      throw deniedBy(messageOf(again), connection.user) ?? again;
    });
    return { needsSearchPath: true };
  }
}

async function checkFreeSpace(server: DatabaseServer, manifest: Manifest): Promise<void> {
  const free = await freeSpace(server);
  const needed = 1.3 * manifest.database_bytes + smallestReserve;
  if (free === undefined || free >= needed) return;
  throw new StepError(
    `the database server has ${formatBytes(free)} left, expected at least ${formatBytes(needed)} to restore a database of ${formatBytes(manifest.database_bytes)} beside the live one`,
    {
      hint: "free space there; or togather:deployment database.snapshot_verify never, and restores by hand on another server",
    },
  );
}

/**
 * Restores a snapshot into a new database, checks it against its manifest, and passes it to `use`. The database is
 * dropped afterwards, unless `use` has renamed it.
 * @throws {NotAllowed} when the role lacks a right; {StepError} when the snapshot differs from its manifest.
 */
export async function withRestored<T>(
  server: DatabaseServer,
  { deployment, manifest }: { deployment: string; manifest: Manifest },
  context: StepContext,
  use: (restored: Restored) => Promise<T>,
): Promise<T> {
  const missing = missingRight(server);
  if (missing !== undefined)
    throw new NotAllowed(`a snapshot can't be restored beside the live database: ${missing.what}`, {
      hint: missing.fix,
    });
  if (!canRead(manifest, context))
    throw new NotAllowed(
      `the snapshot ${manifest.file} is encrypted, and there is no identity that reads it: only its checksum is known to be right`,
      { hint: identityHint },
    );
  if (manifest.without_owners !== undefined) await checkForeign(server, manifest);
  await dropLeftovers(server, deployment, context);
  await checkFreeSpace(server, manifest);
  const database = scratchName(deployment);
  const keeper = new Keeper(server, database);
  await createDatabaseLike(server, server.live, database, attributesOf(manifest));
  try {
    await keeper.open();
    const { needsSearchPath } = await load(server, { database, keeper, manifest }, context);
    const client = await connectAsOwnerLooks(server, database, "togather-restore");
    let contents: Contents;
    try {
      contents = await readContents(client);
    } finally {
      await client.end().catch(() => undefined);
    }
    const problems = differences(
      {
        tables: manifest.tables,
        extensions: manifest.extensions,
        migration: { version: manifest.migration_version, dirty: manifest.migration_dirty },
      },
      contents,
    );
    if (problems.length > 0) {
      throw new StepError(
        `the snapshot ${manifest.file} is not what its manifest says: ${problems.slice(0, 5).join("; ")}${problems.length > 5 ? `; and ${problems.length - 5} more` : ""}`,
        {
          hint: "nothing else was touched; take another one: togather snapshots list",
        },
      );
    }
    for (const [extension, version] of Object.entries(manifest.extensions)) {
      const has = contents.extensions[extension];
      if (has !== version)
        context.log.warn(
          `restore: extension ${extension} has version ${has ?? "none"}, the snapshot was taken with ${version}`,
        );
    }
    return await use({ database, contents, needsSearchPath, release: () => keeper.close() });
  } finally {
    await keeper.close();
    await dropScratchDatabase(server, database).catch((error: unknown) => {
      context.log.warn(`restore: ${database} is left behind, the next run drops it: ${messageOf(error)}`);
    });
  }
}
