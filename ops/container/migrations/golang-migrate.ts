/** Runs golang-migrate and River's own migrations, for the real run and for the rehearsal. */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import * as z from "zod";
import { connectionEnvironment, type Connection } from "../../contract/connection.ts";
import type { StepContext } from "../../contract/context.ts";
import type { StepRequest } from "../../contract/steps.ts";
import { messageOf, StepError } from "../../contract/errors.ts";
import { factsFile, factsSchema, type Facts } from "../../contract/file-facts.ts";
import { findingsFile, findingsSchema, type Finding } from "../../contract/migration-findings.ts";
import { duplicateVersion, unreadFiles, upFiles, type MigrationFile } from "../../contract/migrations.ts";

/** A release's migrations, unpacked. */
export interface MigrationFiles {
  directory: string;
  up: MigrationFile[];
  /** Names that look like migrations, but that golang-migrate doesn't read. */
  unread: string[];
  /** The lint's findings, in all files. */
  findings: Finding[];
  /** Facts from PostgreSQL's parser, by file. */
  facts: Facts;
}

/** Data that the client has sent beside the files. Undefined: it has sent none. */
async function sent<T>(root: string, file: string, schema: z.ZodType<T>): Promise<T | undefined> {
  const text = await readFile(join(root, file), "utf8").catch(() => undefined);
  return text === undefined ? undefined : schema.parse(JSON.parse(text));
}

/** Unpacks the files that the client sent, for as long as they are used. */
export async function withMigrationFiles<T>(
  { source }: Pick<StepRequest<"migrate">, "source">,
  context: StepContext,
  use: (files: MigrationFiles) => Promise<T>,
): Promise<T> {
  const root = await mkdtemp(join(tmpdir(), "migrations-"));
  try {
    const input = await context.payload();
    await execa("tar", ["--extract", "--no-same-owner", `--directory=${root}`], {
      input,
      cancelSignal: context.signal,
    });
    // `docker cp` packs the directory under its own name, git under its path.
    const directory = join(root, source.kind === "image" ? basename(source.path) : source.path);
    const names = await readdir(directory).catch((cause: unknown) => {
      throw new StepError(`the release has no directory ${source.path}`, {
        hint: "set togather:source.migrations to where its golang-migrate files are",
        cause,
      });
    });
    const up = upFiles(names);
    // A directory with nothing but a README counts as empty.
    const others = up.length > 0 ? [] : names.filter((name) => !/^(\.|readme)/i.test(name));
    if (others.length > 0) {
      throw new StepError(
        `${source.path} has none of golang-migrate's files (such as 000001_name.up.sql), but ${others.slice(0, 5).join(", ")}${others.length > 5 ? ` and ${others.length - 5} more` : ""}`,
        {
          hint: "set togather:source.migrations to where they are; a server without migrations is deployed with togather:skipMigrations",
        },
      );
    }
    const twice = duplicateVersion(up);
    if (twice !== undefined)
      throw new StepError(`${source.path} has two files of one version: ${twice.join(" and ")}`, {
        hint: "renumber the newer one",
      });
    return await use({
      directory,
      up,
      unread: unreadFiles(names),
      findings: (await sent(root, findingsFile, findingsSchema)) ?? [],
      facts: (await sent(root, factsFile, factsSchema)) ?? {},
    });
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

/**
 * A database with a version was migrated from some files.
 * @throws {StepError} where there are no files now.
 */
export function refuseNoFiles(
  { up }: Pick<MigrationFiles, "up">,
  version: number | null,
  { source, release }: Pick<StepRequest<"migrate">, "source" | "release">,
): void {
  if (up.length > 0 || version === null) return;
  throw new StepError(
    `${release.version} has no migrations in ${source.path}, but the database is at version ${version}. Nothing was changed`,
    {
      hint: "set togather:source.migrations to where golang-migrate's files are (a submodule's are not in the commit); togather:skipMigrations leaves them out for once",
    },
  );
}

export interface MigrateUp {
  directory: string;
  connection: Connection;
  /** The session's application name on the server. */
  applicationName: string;
  lockTimeoutMs: number;
  statementTimeoutMs: number;
  /** The number of files to apply. Default: all. */
  count?: number;
}

/**
 * Runs golang-migrate's `up`. The connection is in PG* variables, which pgx reads. The command line, which everybody on
 * the host can see, holds the database's name alone. The lock depends on that name, and is thereby the same as that of
 * a `migrate` run by hand.
 */
export async function migrateUp(
  { directory, connection, applicationName, lockTimeoutMs, statementTimeoutMs, count }: MigrateUp,
  { log, signal, env }: StepContext,
): Promise<{ failed: boolean; stderr: string }> {
  const limits = [`-c lock_timeout=${lockTimeoutMs}`, `-c statement_timeout=${statementTimeoutMs}`];
  const program = execa(
    "migrate",
    [
      "-path",
      directory,
      "-database",
      `pgx5:///${encodeURIComponent(connection.database)}`,
      "up",
      ...(count === undefined ? [] : [String(count)]),
    ],
    {
      env: { PATH: env["PATH"], ...connectionEnvironment(connection, applicationName.slice(0, 63), limits) },
      extendEnv: false,
      reject: false,
      stdin: "ignore",
    },
  );
  // SIGINT ends it between two files. Any other signal would leave a dirty version.
  const stop = (): void => {
    log.warn("migrate: stopping after the file that is being applied");
    program.kill("SIGINT");
  };
  signal.addEventListener("abort", stop);
  try {
    if (signal.aborted) stop();
    const { failed, stderr } = await program;
    return { failed, stderr };
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

const riverResult = z.object({ from: z.number(), to: z.number() });

/**
 * Why golang-migrate can't record a file that succeeded, where nobody holds a lock on its table.
 */
export const sessionChanged =
  "the file leaves its session changed (SET ROLE, DISCARD ALL, read-only or the like); SET LOCAL, or RESET at its end, leaves nothing";

/** Pause between two attempts to get a lock, in ms. */
export const lockPauseMs = 2_000;

/** Limits that keep River's migrations from blocking the release that serves. */
export interface RiverLimits extends Pick<
  StepRequest<"migrate">,
  "riverVersion" | "lockTimeoutMs" | "statementTimeoutMs"
> {
  /** Attempts when a lock is not available in time. Default: 1. */
  lockAttempts?: number;
}

/**
 * Migrates River's own tables. Its program reads DATABASE_URL from the environment. Each of its migrations is a
 * transaction: one that did not get a lock in time can be tried again. Tables of a newer version stay.
 * @param what prefix of the log's lines.
 * @param limits.riverVersion the version that the release's River needs; default: the newest that this project has.
 */
export async function migrateRiver(
  { riverVersion, lockTimeoutMs, statementTimeoutMs, lockAttempts = 1 }: RiverLimits,
  { env, signal, log }: StepContext,
  what: string,
  url = env["DATABASE_URL"],
): Promise<void> {
  const args = [
    `-wait=${lockTimeoutMs}ms`,
    `-statement=${statementTimeoutMs}ms`,
    ...(riverVersion === undefined ? [] : [`-to=${riverVersion}`]),
  ];
  for (let attempt = 1; ; attempt++) {
    const result = await execa("river-migrate", args, {
      env: { PATH: env["PATH"], DATABASE_URL: url },
      extendEnv: false,
      reject: false,
      stdin: "ignore",
    });
    signal.throwIfAborted();
    const known = /version \d+ is not .*version/.test(result.stderr);
    if (result.failed && known) {
      throw new StepError(
        `River's tables can't be brought to version ${riverVersion}, which this project's River doesn't have`,
        {
          hint: "togather:source.riverVersion is the number of the last file in riverdriver/riverpgxv5/migration/main of the server's River; leave it out for the newest here",
        },
      );
    }
    const locked = result.failed && /\(SQLSTATE (55P03|40P01)\)/.test(result.stderr);
    if (locked && attempt < lockAttempts) {
      log.info(
        `${what}: River's tables: a lock was not to be had within ${lockTimeoutMs / 1000} s, and was given up so that nobody waits behind it; attempt ${attempt + 1} of ${lockAttempts} in ${lockPauseMs / 1000} s`,
      );
      await sleep(lockPauseMs, undefined, { signal });
      continue;
    }
    if (result.failed) {
      throw new StepError(
        `River's tables were not migrated: ${result.stderr.trim().split("\n").slice(-3).join("\n") || messageOf(result)}`,
        locked ? { hint: lockHint } : {},
      );
    }
    const { from, to } = riverResult.parse(JSON.parse(result.stdout));
    if (riverVersion !== undefined && to > riverVersion)
      log.info(
        `${what}: River's tables are at version ${to}, which is newer than ${riverVersion}, and stay as they are`,
      );
    else
      log.info(
        from === to
          ? `${what}: River's tables are at version ${to}`
          : `${what}: River's tables from version ${from} to ${to}`,
      );
    return;
  }
}

export const lockHint =
  "a transaction holds the table: SELECT pid, state, xact_start, query FROM pg_stat_activity ORDER BY xact_start; then run the same command again";
