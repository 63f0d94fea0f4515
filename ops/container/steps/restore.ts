import { join } from "node:path";
import pg from "pg";
import type { StepContext } from "../../contract/context.ts";
import type { StepRequest, StepResult } from "../../contract/steps.ts";
import { dataLoss } from "../database/data-loss.ts";
import {
  applyDatabaseAttributes,
  copyDatabaseAttributes,
  giveDatabase,
  readDatabaseAttributes,
  sayLeft,
} from "../database/database-attributes.ts";
import { connectAsOwnerLooks, withDatabaseServer, type DatabaseServer } from "../database/database-server.ts";
import { timestampOf } from "../../contract/deployment-id.ts";
import { StepError } from "../../contract/errors.ts";
import { holdJobs, jobsDoneSince } from "../database/job-queue.ts";
import { releaseJobs } from "../../contract/job-queue.ts";
import { missingRoles } from "../database/roles.ts";
import { attributesOf, NotAllowed, withRestored } from "../database/scratch-database.ts";
import { checkedSnapshot, readRoles } from "../snapshots/snapshot-file.ts";
import { noteKept, withSnapshotLock } from "../snapshots/snapshots.ts";
import { type Manifest } from "../../contract/manifest.ts";
import { connect, readSchemaVersion } from "../database/sql.ts";
import { replacedName, swapDatabases } from "../database/swap-database.ts";
import { seconds } from "../../contract/units.ts";

type Request = StepRequest<"restore">;
type Result = StepResult<"restore">;

async function exists({ client }: DatabaseServer, database: string): Promise<boolean> {
  return (await client.query("SELECT FROM pg_database WHERE datname = $1", [database])).rowCount === 1;
}

/** The losses in a database that a snapshot replaces, before or after the replacement. */
async function compare(
  server: DatabaseServer,
  database: string,
  manifest: Manifest,
): Promise<Pick<Result, "lost" | "counted" | "schema" | "jobs">> {
  const client = await connectAsOwnerLooks(server, database, "togather-restore");
  try {
    const doneSince = await jobsDoneSince(client, manifest.time);
    const jobs = doneSince === null ? null : { queued: manifest.queued_jobs ?? null, doneSince, held: 0 };
    return {
      ...(await dataLoss(client, manifest)),
      jobs,
      schema: { now: (await readSchemaVersion(client)).version, snapshot: manifest.migration_version },
    };
  } finally {
    await client.end().catch(() => undefined);
  }
}

/**
 * Rights are granted to roles: a snapshot's roles that the server lacks are created first.
 * @throws {NotAllowed} where this role may not create them.
 */
async function createMissingRoles(
  { client, connection }: DatabaseServer,
  manifest: Manifest,
  context: StepContext,
): Promise<void> {
  const { paths, log } = context;
  const existing = async (): Promise<string[]> =>
    (await client.query<{ name: string }>("SELECT rolname AS name FROM pg_roles")).rows.map(({ name }) => name);
  const { names, statements, memberships } = missingRoles(
    await readRoles(join(paths.backups, manifest.file), manifest, context),
    await existing(),
  );
  if (names.length === 0) return;
  for (const statement of statements)
    await client.query(statement).catch((error: unknown) => {
      // A membership of a role that could not be created.
      if (!(error instanceof pg.DatabaseError) || error.code !== "42704") throw error;
    });
  const now = await existing();
  // The statements themselves skip errors of missing rights: people also use them, on servers that have most of the
  // roles.
  const lacking = names.filter((name) => !now.includes(name));
  if (lacking.length > 0)
    throw new NotAllowed(
      `the server has no role ${lacking.join(", ")}, which the snapshot gives rights to, and role ${connection.user} may not make it. Nothing was changed`,
      {
        hint: `as a superuser of the database: ${lacking.map((name) => `CREATE ROLE ${pg.escapeIdentifier(name)};`).join(" ")} then the same again`,
      },
    );
  const left: string[] = [];
  for (const statement of memberships)
    await client.query(statement).catch((error: unknown) => {
      // Not allowed; or the other role does not exist either.
      if (!(error instanceof pg.DatabaseError) || !/^(42501|42704|0LP01)$/.test(error.code ?? "")) throw error;
      left.push(statement);
    });
  log.warn(
    `restore: the server had no role ${names.join(", ")} any more; made again, without a password`,
    left.length === 0 ? {} : { hint: `as a superuser of the database: ${left.join("; ")};` },
  );
}

/**
 * A free name for the replaced database. Names have whole seconds: a second restore within one second takes the next.
 */
async function freeReplacedName(server: DatabaseServer, live: string): Promise<string> {
  for (let time = Date.now(); ; time += 1_000) {
    const name = replacedName(live, timestampOf(new Date(time)));
    if (!(await exists(server, name))) return name;
  }
}

/**
 * Gives the restored database the rights, settings and owner of the live one, or those that it had where it is gone.
 */
async function dress(
  server: DatabaseServer,
  { there, restored, manifest }: { there: boolean; restored: string; manifest: Manifest },
  log: StepContext["log"],
): Promise<void> {
  const { client, live, connection } = server;
  const known = attributesOf(manifest);
  if (there) await copyDatabaseAttributes(server, live, restored, log);
  else if (known !== undefined)
    sayLeft(await applyDatabaseAttributes(server, known, restored), server, { copy: restored, named: live }, log);
  else {
    await client.query(`GRANT CONNECT, TEMPORARY ON DATABASE ${pg.escapeIdentifier(restored)} TO PUBLIC`);
    log.warn(
      `restore: ${live} is gone, and an older version of this project took the snapshot: who else may connect, and the settings of the database, are in no snapshot`,
    );
  }
  const owner = (there ? (await readDatabaseAttributes(client, live))?.owner : known?.owner) ?? server.owner;
  const has = (await readDatabaseAttributes(client, restored))?.owner;
  if (has === owner || (await giveDatabase(server, restored, owner))) return;
  const [given, to] = [pg.escapeIdentifier(owner), pg.escapeIdentifier(connection.user)];
  log.warn(`restore: ${live} will belong to ${has ?? connection.user}, which may not give it to ${owner}`, {
    hint: `as a superuser of the database: ALTER DATABASE ${pg.escapeIdentifier(live)} OWNER TO ${given}; next time before: GRANT ${given} TO ${to}`,
  });
}

async function hold(server: DatabaseServer, database: string): Promise<number> {
  const client = await connectAsOwnerLooks(server, database, "togather-restore");
  try {
    return await holdJobs(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function analyze(server: DatabaseServer, database: string): Promise<void> {
  const client = await connect({ ...server.connection, database }, "togather-restore");
  try {
    await client.query("ANALYZE");
  } finally {
    await client.end().catch(() => undefined);
  }
}

/**
 * Replaces the live database by a snapshot: restored beside it, compared with its manifest, then swapped by rename.
 * Killed at any moment, it leaves one of the two databases complete, and can be run again.
 */
export async function run(request: Request, context: StepContext): Promise<Result> {
  const { file, name } = request;
  const { log, signal } = context;
  return withSnapshotLock(context, async () => {
    const started = performance.now();
    const manifest = await checkedSnapshot(request, context);
    if (request.keep === true) await noteKept(context.paths.backups, manifest);
    return withDatabaseServer(context, async (server) => {
      const { live } = server;
      const there = await exists(server, live);
      const rows = manifest.rows;
      const result = (more: Partial<Result>): Result => ({
        ...{
          file,
          time: manifest.time,
          beforeVersion: manifest.before_version,
          ...(manifest.reason === undefined ? {} : { reason: manifest.reason }),
          database: live,
          rows,
          lost: [],
          counted: "exact",
          jobs: null,
          schema: { now: null, snapshot: manifest.migration_version },
          replaced: null,
          swapMs: null,
        },
        ...more,
        durationMs: Math.round(performance.now() - started),
      });
      if (request.mode === "check") return result(there ? await compare(server, live, manifest) : {});
      if (!server.apart) {
        throw new StepError(
          `role ${server.connection.user} can connect to no database but ${live}, which can't be renamed from within`,
          { hint: "GRANT CONNECT ON DATABASE postgres to it, or set DATABASE_ADMIN_URL" },
        );
      }
      await createMissingRoles(server, manifest, context);
      log.info(`restore: ${file} is whole; restoring it beside ${live}`);
      return withRestored(server, { deployment: name, manifest }, context, async ({ database: restored, release }) => {
        await analyze(server, restored);
        await dress(server, { there, restored, manifest }, log);
        const held = request.holdJobs === true ? await hold(server, restored) : 0;
        if (held > 0)
          log.info(`restore: ${held} jobs that were queued then are on hold; to have them worked: ${releaseJobs}`);
        signal.throwIfAborted();
        const replaced = there ? await freeReplacedName(server, live) : undefined;
        log.info(`restore: ${restored} has all ${rows} rows; it takes the place of ${live} now`);
        await release();
        const swapMs = Math.round(await swapDatabases(server, { live, restored, replaced }));
        log.success(
          `restore: ${live} is ${file}, in ${seconds(performance.now() - started)}; connections waited ${swapMs} ms${replaced === undefined ? "" : `. What it was before is kept as ${replaced}`}`,
        );
        const compared: Partial<Result> = replaced === undefined ? {} : await compare(server, replaced, manifest);
        const jobs =
          compared.jobs ?? (held === 0 ? null : { queued: manifest.queued_jobs ?? null, doneSince: 0, held });
        return result({ ...compared, jobs: jobs && { ...jobs, held }, replaced: replaced ?? null, swapMs });
      });
    });
  });
}
