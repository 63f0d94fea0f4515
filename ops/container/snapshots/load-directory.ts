/** Loads a dump in pg_dump's directory format into an empty database, with several processes at once. */
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import type { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { execa } from "execa";
import pg from "pg";
import { connectionEnvironment, type Connection } from "../../contract/connection.ts";
import type { StepContext } from "../../contract/context.ts";
import { extensionsMadeBy, knowsSettings, madeBy, withoutNewerSettings, withSearchPath } from "./dump-filter.ts";
import { failureOf, succeed } from "../../contract/programs.ts";
import type { Manifest } from "../../contract/manifest.ts";
import { seconds } from "../../contract/units.ts";

const progressMs = 2_000;
/** A larger compressed table file has rows, in bytes; a smaller one is examined. */
const noRowsBytes = 64;

/**
 * Server options for a session that loads. Nobody reads the database before it is complete, and the rename that follows
 * flushes all earlier commits. Such a session may also be idle while a dump is unpacked or other processes load their
 * part.
 */
const loadOptions = ["-c synchronous_commit=off", "-c idle_session_timeout=0"];

/** psql that reads a dump from stdin: it stops at the first error, and reports its SQLSTATE. */
export function loadingPsql(connection: Connection, { env, signal }: Pick<StepContext, "env" | "signal">) {
  return execa(
    "psql",
    ["--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=verbose", "--file=-"],
    {
      extendEnv: false,
      cancelSignal: signal,
      reject: false,
      env: {
        PATH: env["PATH"],
        LANG: "C.UTF-8",
        ...connectionEnvironment(connection, "togather-restore", loadOptions),
      },
      stdin: "pipe",
      stdout: "ignore",
    },
  );
}

/** The empty database that a dump is loaded into. */
export interface LoadTarget {
  connection: Connection;
  superuser: boolean;
  /** PostgreSQL's `server_version_num`, such as 170004. */
  serverVersion: number;
  /** The search path for names without a schema, as SQL. Undefined: empty, as the dump sets it. */
  searchPath?: string | undefined;
  /** For a dump without owners: the role that will own its objects. Undefined: the connection's own role. */
  owner?: string | undefined;
}

/** Filters for the parts of a dump's SQL that must be changed or left out. */
export function loadFilters(
  manifest: Pick<Manifest, "without_owners">,
  { serverVersion, searchPath, owner }: Pick<LoadTarget, "serverVersion" | "searchPath" | "owner">,
): Transform[] {
  return [
    ...(knowsSettings(serverVersion) ? [] : [withoutNewerSettings()]),
    ...(searchPath === undefined ? [] : [withSearchPath(searchPath)]),
    ...(owner === undefined || manifest.without_owners === undefined
      ? []
      : [madeBy(pg.escapeIdentifier(owner), new Set(manifest.without_owners.extension_relations))]),
  ];
}

/** The filter that creates extensions as their former owners, where those are known and no superusers. */
export function ownersOfExtensions({ extension_owners: owners = {} }: Pick<Manifest, "extension_owners">): Transform[] {
  return Object.keys(owners).length === 0 ? [] : [extensionsMadeBy(owners)];
}

/** Whether a table's compressed data file has no rows. */
async function hasNoRows(file: string, context: StepContext): Promise<boolean> {
  const size = await stat(file).then(
    (found) => found.size,
    () => undefined,
  );
  if (size === undefined || size > noRowsBytes) return false;
  const { stdout } = await execa("zstd", ["--decompress", "--stdout", "--quiet", file], {
    env: { PATH: context.env["PATH"] },
    extendEnv: false,
    cancelSignal: context.signal,
    stdin: "ignore",
  });
  return stdout.trim() === "\\.";
}

/**
 * pg_restore's list without statements that only a superuser may run and that change nothing: comments on extensions,
 * and copying no rows into a table such as PostGIS's.
 */
async function allowedList(directory: string, list: string, context: StepContext): Promise<string> {
  const kept: string[] = [];
  for (const line of list.split("\n")) {
    if (/^\d+; \d+ \d+ COMMENT - EXTENSION /.test(line)) continue;
    const [, id] = /^(\d+); \d+ \d+ TABLE DATA /.exec(line) ?? [];
    if (id !== undefined && (await hasNoRows(join(directory, `${id}.dat.zst`), context))) continue;
    kept.push(line);
  }
  return kept.join("\n");
}

/**
 * Loads the dump as SQL through psql, with filters. pg_restore itself sets a setting that servers before 17 don't know,
 * sets an empty search path and creates everything as one role; no option changes that. It runs one process instead of
 * several.
 */
async function loadAsText(
  directory: string,
  args: readonly string[],
  { manifest, target }: { manifest: Manifest; target: LoadTarget },
  { env, signal }: StepContext,
): Promise<void> {
  const stop = new AbortController();
  const cancelSignal = AbortSignal.any([signal, stop.signal]);
  const environment = { PATH: env["PATH"], LANG: "C.UTF-8" };
  const writing = execa("pg_restore", ["--format=directory", "--file=-", ...args, directory], {
    extendEnv: false,
    cancelSignal,
    reject: false,
    env: environment,
    stdin: "ignore",
    buffer: { stdout: false },
  });
  const psql = loadingPsql(target.connection, { env, signal: cancelSignal });
  // psql gets its end of input only after pg_restore has succeeded: truncated statements must not be run.
  const feeding = pipeline(
    [writing.stdout, ...ownersOfExtensions(manifest), ...loadFilters(manifest, target), psql.stdin],
    { end: false },
  )
    .catch(() => undefined)
    .then(async () => {
      const broken = await failureOf(writing, "pg_restore");
      if (broken === undefined) psql.stdin.end();
      else stop.abort();
      return broken;
    });
  const failure = await failureOf(psql, "restoring");
  if (failure !== undefined) stop.abort();
  const broken = await feeding;
  signal.throwIfAborted();
  // The first failure ends the other program: a psql that exits by itself has found the cause.
  if (failure !== undefined && psql.exitCode !== null) throw failure;
  const cause = broken ?? failure;
  if (cause !== undefined) throw cause;
}

/**
 * Restores without the roles, which belong to the whole server.
 * @throws {StepError} with pg_restore's message.
 */
export async function loadDirectory(
  directory: string,
  manifest: Manifest,
  target: LoadTarget,
  context: StepContext,
): Promise<void> {
  const { connection, superuser } = target;
  const { log, signal } = context;
  const options = { extendEnv: false, cancelSignal: signal, reject: false, stdin: "ignore" } as const;
  const environment = { PATH: context.env["PATH"], LANG: "C.UTF-8" };
  const scratch = await mkdtemp(join(tmpdir(), "restore-"));
  const started = performance.now();
  const progress = setInterval(() => {
    log.info(`restore: ${manifest.rows} rows are on their way, ${seconds(performance.now() - started)}`);
  }, progressMs);
  try {
    // In this format pg_dump writes owners and rights regardless of its options.
    const args: string[] = manifest.without_owners === undefined ? [] : ["--no-owner", "--no-privileges"];
    const owners = ownersOfExtensions(manifest).length > 0;
    if (!superuser || owners) {
      const listing = execa("pg_restore", ["--list", directory], { ...options, env: environment });
      await succeed(listing, "pg_restore --list", signal);
      const all = (await listing).stdout;
      const allowed = superuser ? all : await allowedList(directory, all, context);
      // Through a filter: first the schemas in which extensions are created.
      const isFirst = (line: string): boolean => owners && /^\d+; \d+ \d+ (SCHEMA|EXTENSION) - /.test(line);
      const write = async (name: string, keep: (line: string) => boolean): Promise<string> => {
        const list = join(scratch, name);
        await writeFile(list, allowed.split("\n").filter(keep).join("\n"));
        return `--use-list=${list}`;
      };
      if (owners && loadFilters(manifest, target).length === 0) {
        const first = [...args, await write("first", isFirst)];
        await loadAsText(directory, first, { manifest, target }, context);
        args.push(await write("list", (line) => !isFirst(line)));
      } else args.push(await write("list", () => true));
    }
    if (loadFilters(manifest, target).length > 0) {
      await loadAsText(directory, args, { manifest, target }, context);
      return;
    }
    const restoring = execa(
      "pg_restore",
      [
        "--format=directory",
        `--jobs=${availableParallelism()}`,
        "--exit-on-error",
        "--no-password",
        `--dbname=${connection.database}`,
        ...args,
        directory,
      ],
      {
        ...options,
        env: { ...environment, ...connectionEnvironment(connection, "togather-restore", loadOptions) },
        stdout: "ignore",
      },
    );
    const failure = await failureOf(restoring, "restoring");
    signal.throwIfAborted();
    if (failure !== undefined) throw failure;
  } finally {
    clearInterval(progress);
    await rm(scratch, { recursive: true, force: true });
  }
}
