/** A dump in pg_dump's directory format into an empty database, by several processes at once. */
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
/** A table's file without rows is shorter when it is packed. */
const noRowsBytes = 64;

/**
 * The server's options for a session that loads. Nobody reads the database before it is whole, and the rename that follows is flushed with all before
 * it; and such a session waits while a dump is unpacked, or others make their part.
 */
const loadOptions = ["-c synchronous_commit=off", "-c idle_session_timeout=0"];

/** psql as it reads a dump from its stdin: it stops at the first error, and tells its SQLSTATE. */
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
  /** As `server_version_num` has it: 170004. */
  serverVersion: number;
  /** Where names without a schema are looked up, as SQL has it; undefined: nowhere, as the dump says. */
  searchPath?: string | undefined;
  /** Of a dump without owners: who is to own what it makes; undefined: the connection's own role. */
  owner?: string | undefined;
}

/** What of a dump's SQL is not sent as it is, whatever it was written for. */
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

/** The filter that has extensions made by whom they belonged to, where that is known and no superuser. */
export function ownersOfExtensions({ extension_owners: owners = {} }: Pick<Manifest, "extension_owners">): Transform[] {
  return Object.keys(owners).length === 0 ? [] : [extensionsMadeBy(owners)];
}

/** Whether a table's packed data are no rows. */
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
 * pg_restore's list without what only a superuser may do and what changes nothing: comments on extensions, and copying no rows into a table,
 * such as PostGIS's own.
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
 * What pg_restore would do, as SQL and by psql: it sets what servers before 17 don't know, and an empty search path, and makes everything as one role,
 * and there is no option that keeps it from that. One process instead of several.
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
  // psql gets its end of input only when pg_restore has succeeded: statements that were cut off are none.
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
  // Whichever fails first ends the other one: a psql that exits by itself has found the cause.
  if (failure !== undefined && psql.exitCode !== null) throw failure;
  const cause = broken ?? failure;
  if (cause !== undefined) throw cause;
}

/** Restores without the roles, which are the whole server's. @throws {StepError} with what pg_restore said. */
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
    // In this format pg_dump writes owners and rights whatever it is told.
    const args: string[] = manifest.without_owners === undefined ? [] : ["--no-owner", "--no-privileges"];
    const owners = ownersOfExtensions(manifest).length > 0;
    if (!superuser || owners) {
      const listing = execa("pg_restore", ["--list", directory], { ...options, env: environment });
      await succeed(listing, "pg_restore --list", signal);
      const all = (await listing).stdout;
      const allowed = superuser ? all : await allowedList(directory, all, context);
      // Through a filter: schemas first, in which extensions are made.
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
