/**
 * Compares the connections that a database has room for with those that a release needs: docs/settings.md, Connections.
 */

/** A server's limits and current use. A negative limit means none. */
export interface ConnectionRoom {
  /** `max_connections` */
  max: number;
  /** Of these, reserved for superusers and the like. */
  reserved: number;
  /** Current connections to other databases of the server. */
  others: number;
  /** The database's connection limit. */
  databaseLimit: number;
}

/** A role's connection limit. A superuser is limited by `max` alone. */
export interface RoleRoom {
  role: string;
  limit: number;
  superuser: boolean;
}

export interface RoomProblem {
  /** error: it can't work; warning: it may fail. */
  level: "error" | "warning";
  what: string;
  fix: string;
}

/** Connections for the steps, for people and for PostgreSQL's reserve. */
const beside = 20;
/** The slot that serves and the one that takes its place, with one connection each. */
const leastOfSlots = 2;
/** The session that holds the migration lock, and golang-migrate's. */
const leastOfMigrations = 2;

const identifier = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/**
 * The `max_connections` needed for a server with a pool of this size: both slots run at once, and a rehearsal starts a
 * third server.
 */
export const connectionsFor = (pool: number): number => 3 * pool + beside;

/**
 * Problems that stop or endanger a release.
 * @param app the server's role.
 * @param owner the role of migrations; the same as `app` where there is only one.
 * @param pool pool size of each server process, where it is known.
 */
export function roomProblems(
  { max, reserved, others, databaseLimit }: ConnectionRoom,
  { app, owner, database, pool }: { app: RoleRoom; owner: RoleRoom; database: string; pool: number | undefined },
): RoomProblem[] {
  const problems: RoomProblem[] = [];
  const same = app.role === owner.role;
  const free = max - reserved - others;
  const needs = pool === undefined ? undefined : connectionsFor(pool);
  const because =
    pool === undefined
      ? ""
      : `; a release can take ${3 * pool} (three times the server's pool of ${pool}) and ${beside} for the steps and everybody else`;
  const server = `max_connections is ${max}, of which ${reserved} are kept for superusers${others === 0 ? "" : ` and ${others} are used by other databases now`}`;
  const raise = `raise max_connections on the database's server${needs === undefined ? "" : ` to ${needs + others} or more`}, or give the server a smaller pool`;
  if (free < leastOfSlots + leastOfMigrations)
    problems.push({
      level: "error",
      what: `${server}: a release takes ${leastOfSlots + leastOfMigrations} at least`,
      fix: raise,
    });
  else if (needs !== undefined && max - others < needs)
    problems.push({ level: "warning", what: `${server}${because}`, fix: raise });

  const limited = (what: string, alter: string, limit: number, least: number, most: number | undefined): void => {
    if (limit < 0 || (limit >= least && (most === undefined || limit >= most))) return;
    problems.push({
      level: limit < least ? "error" : "warning",
      what: `${what} has a CONNECTION LIMIT of ${limit}${limit < least ? `: a release takes ${least} of them at least` : because}`,
      fix: `ALTER ${alter} CONNECTION LIMIT ${most ?? -1};`,
    });
  };
  const both = leastOfSlots - 1 + leastOfMigrations;
  if (!app.superuser)
    limited(
      `the role ${app.role}`,
      `ROLE ${identifier(app.role)}`,
      app.limit,
      same ? both : leastOfSlots,
      same ? needs : pool && 3 * pool,
    );
  if (!same && !owner.superuser)
    limited(
      `the role ${owner.role}`,
      `ROLE ${identifier(owner.role)}`,
      owner.limit,
      leastOfMigrations,
      needs === undefined ? undefined : beside,
    );
  if (!app.superuser || !owner.superuser)
    limited(`the database ${database}`, `DATABASE ${identifier(database)}`, databaseLimit, both, needs);
  return problems;
}

/** Columns of a query for these values, for the current role and database. */
export const roomColumns = `current_setting('max_connections')::int AS max,
  (SELECT coalesce(sum(setting::int), 0)::int FROM pg_settings WHERE name IN ('superuser_reserved_connections', 'reserved_connections')) AS reserved,
  (SELECT coalesce(sum(numbackends), 0)::int FROM pg_stat_database WHERE datname <> current_database()) AS others,
  (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS "databaseLimit",
  (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS "roleLimit"`;

/**
 * The size of the server's pool, from its settings: `pool_max_conns` of its URL, or DATABASE_MAX_CONNECTIONS.
 * @returns undefined where neither is set.
 */
export function poolSize(url: string | undefined, environment: Readonly<Record<string, string>>): number | undefined {
  const inUrl = /[?&]pool_max_conns=(\d+)/.exec(url ?? "")?.[1];
  const told = Number(inUrl ?? environment["DATABASE_MAX_CONNECTIONS"] ?? Number.NaN);
  return Number.isSafeInteger(told) && told > 0 ? told : undefined;
}
