import type pg from "pg";
import type { Connection } from "../../contract/connection.ts";
import type { StepContext } from "../../contract/context.ts";
import {
  poolSize,
  roomColumns,
  roomProblems,
  type ConnectionRoom,
  type RoleRoom,
} from "../../contract/connection-room.ts";
import type { StepRequest, StepResult } from "../../contract/steps.ts";
import { StepError } from "../../contract/errors.ts";
import { closedExtensionTables, grantOnTables } from "../database/extension-tables.ts";
import { describeDatabase, withDatabase } from "../database/sql.ts";
import { poolerProblem } from "../database/pooler.ts";
import { newestClient, noClientHint } from "../database/postgres-client.ts";

/** The oldest major version that the PostgreSQL project still supports. */
const oldestMajor = 14;

interface Seen extends ConnectionRoom {
  /** Used to compare servers: the time at which the server started, to the microsecond. */
  server: string;
  database: string;
  version: string;
  major: number;
  role: string;
  superuser: boolean;
  /** May create tables in the schema that the migrations use. */
  creates: boolean;
  schema: string | null;
  standby: boolean;
  extensions: string[];
  /** golang-migrate has run here. */
  migrated: boolean;
  /** The role's connection limit; negative: none. */
  roleLimit: number;
  /** Tables of the wanted extensions into which the role may not write. */
  closed: string[];
}

async function look(client: pg.Client, wanted: readonly string[]): Promise<Seen> {
  const { rows } = await client.query<Seen>(`
    SELECT pg_postmaster_start_time()::text AS server, current_database() AS database, current_setting('server_version') AS version,
           current_setting('server_version_num')::int / 10000 AS major, current_user::text AS role,
           (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
           current_schema()::text AS schema, coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS creates,
           pg_is_in_recovery() AS standby, to_regclass('schema_migrations') IS NOT NULL AS migrated, (SELECT coalesce(array_agg(extname::text), '{}') FROM pg_extension) AS extensions,
           ${roomColumns}`);
  const row = rows[0];
  if (row === undefined) throw new StepError("the database told nothing about itself");
  return { ...row, closed: await closedExtensionTables(client, row.role, wanted) };
}

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** All problems of the server and the owner's role at once. */
function ownerProblems(owner: Seen, extensions: readonly string[], dump: number): { what: string; fix: string }[] {
  const missing = extensions.filter((name) => !owner.extensions.includes(name));
  const problems: { what: string; fix: string }[] = [];
  if (owner.major < oldestMajor)
    problems.push({
      what: `it is PostgreSQL ${owner.version}, expected ${oldestMajor} or newer`,
      fix: "upgrade the server",
    });
  if (owner.major > dump) {
    problems.push({
      what: `it is PostgreSQL ${owner.version}, and the pg_dump of this project (${dump}) can't make snapshots of a newer one`,
      fix: noClientHint(owner.major),
    });
  }
  if (owner.standby)
    problems.push({ what: "it is a standby, which can't be written to", fix: "name the primary in the URL" });
  if (missing.length > 0) {
    problems.push({
      what: `it lacks the extension ${missing.join(", ")}`,
      fix: `as a superuser of ${owner.database}: ${missing.map((name) => `CREATE EXTENSION ${quoted(name)};`).join(" ")} (or leave it out of togather:database.extensions)`,
    });
  }
  if (!owner.creates && !owner.standby) {
    const schema = owner.schema ?? "public";
    problems.push({
      what: `the role ${owner.role} can't make tables in the schema ${schema}`,
      fix: `as its owner: GRANT CREATE, USAGE ON SCHEMA ${quoted(schema)} TO ${quoted(owner.role)};`,
    });
  }
  return problems;
}

/** The problem of a table of an extension to which migrations may not add rows. */
function closedProblem({ role, database, closed }: Seen): { what: string; fix: string } {
  return {
    what: `the role ${role} may not write to ${closed.join(", ")}, of an extension`,
    fix: `as a superuser of ${database}: ${grantOnTables(closed, role)}`,
  };
}

function superuserProblem({ role }: Seen): { what: string; fix: string } {
  return {
    what: `the server's role ${role} is a SUPERUSER: whoever gets into the server could do anything to the database and its machine`,
    fix: `ALTER ROLE ${quoted(role)} NOSUPERUSER; or give the server a role of its own in DATABASE_URL`,
  };
}

/** Checks an external database. Changes nothing in it. */
export async function run(request: StepRequest<"database">, context: StepContext): Promise<StepResult<"database">> {
  const { log, signal, env } = context;
  const started = performance.now();
  const ask = (
    variable: "DATABASE_URL" | "MIGRATION_DATABASE_URL",
  ): Promise<{ seen: Seen; connection: Connection; pooler: Awaited<ReturnType<typeof poolerProblem>> }> =>
    withDatabase(
      { url: env[variable], variable, applicationName: "togather-database", signal },
      async (client, connection) => {
        const pooler = await poolerProblem(client, connection, "MIGRATION_DATABASE_URL");
        return { seen: await look(client, request.extensions), connection, pooler };
      },
    );
  const app = await ask("DATABASE_URL");
  const owner = env["MIGRATION_DATABASE_URL"] === env["DATABASE_URL"] ? app : await ask("MIGRATION_DATABASE_URL");
  if (owner.seen.server !== app.seen.server || owner.seen.database !== app.seen.database) {
    throw new StepError(
      `MIGRATION_DATABASE_URL is the ${describeDatabase(owner.connection)}, and DATABASE_URL another one, the ${describeDatabase(app.connection)}. Nothing was changed`,
      {
        hint: "both have to name the same database, with two roles",
      },
    );
  }
  const problems = ownerProblems(owner.seen, request.extensions, newestClient());
  if (owner.pooler !== undefined) problems.push(owner.pooler);
  if (owner.seen.closed.length > 0 && !owner.seen.standby) {
    const { what, fix } = closedProblem(owner.seen);
    // Where migrations have run without the extension, a server may never need it.
    if (!owner.seen.migrated)
      problems.push({ what, fix: `${fix} (or leave the extension out of togather:database.extensions)` });
    else log.warn(`database: ${what}; a migration that does will be refused`, { hint: fix });
  }
  if (app.seen.superuser && request.superuser === "error") problems.push(superuserProblem(app.seen));
  if (app.seen.superuser && request.superuser === "warn") log.warn(superuserProblem(app.seen).what);
  const role = ({ role: name, roleLimit, superuser }: Seen): RoleRoom => ({ role: name, limit: roleLimit, superuser });
  for (const { level, what, fix } of roomProblems(owner.seen, {
    app: role(app.seen),
    owner: role(owner.seen),
    database: owner.seen.database,
    pool: poolSize(env["DATABASE_URL"], { DATABASE_MAX_CONNECTIONS: String(request.pool) }),
  })) {
    if (level === "error") problems.push({ what, fix });
    else log.warn(`database: ${what}`, { hint: fix });
  }
  if (problems.length > 0) {
    throw new StepError(
      `the ${describeDatabase(owner.connection)} can't be used: ${problems.map(({ what }) => what).join("; ")}. Nothing was changed`,
      {
        hint: problems.map(({ fix }) => fix).join("\n  → "),
      },
    );
  }
  const durationMs = Math.round(performance.now() - started);
  log.info(
    `database: PostgreSQL ${owner.seen.version}, ${describeDatabase(app.connection)}${owner.seen.role === app.seen.role ? "" : `, migrations as ${owner.seen.role}`}`,
    { duration_ms: durationMs },
  );
  return { serverVersion: owner.seen.version, role: app.seen.role, migrationRole: owner.seen.role, durationMs };
}
