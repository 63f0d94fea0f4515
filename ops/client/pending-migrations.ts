/** Which migrations a release would run: its own files against the version that the database has. Changes nothing. */
import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { promisify } from "node:util";
import { allowedLate, lateText, notAllowedUnread, pendingOf, unreadText } from "../contract/pending-migrations.ts";
import type { Waiver } from "../contract/migration-findings.ts";
import { sourceOf } from "../contract/release.ts";
import { unreadFiles, upFiles } from "../contract/migrations.ts";
import { gitEnvironment, neutralGit } from "./git.ts";

/** Where a release's migrations are. */
export interface MigrationSource {
  /** Directory of the git repository. */
  repository: string;
  /** A commit, or `tree-<hash>` for the files as they are. */
  commit: string;
  /** Directory in it. */
  path: string;
}

/** Names of the files in a directory of a commit, or of the tree as it is. Undefined where there is no such commit or directory. */
export async function fileNames({ repository, commit, path }: MigrationSource): Promise<string[] | undefined> {
  try {
    if (sourceOf({ commit }).kind === "tree") return readdirSync(join(resolve(repository), path));
    const { stdout } = await promisify(execFile)(
      "git",
      [...neutralGit, "-C", repository, "ls-tree", "--name-only", "-z", commit, "--", `${path}/`],
      { env: gitEnvironment(process.env) },
    );
    // Git lists nothing where there is no such directory.
    return stdout === "" ? undefined : stdout.split("\0").map((file) => basename(file));
  } catch {
    return undefined;
  }
}

/** The files of a release that another one lacks, in order. Undefined where the files of one of them can't be listed. */
export async function newMigrations(source: MigrationSource, other: MigrationSource): Promise<string[] | undefined> {
  const [names, known] = await Promise.all([fileNames(source), fileNames(other)]);
  return names && known && upFiles(names).flatMap(({ file }) => (known.includes(file) ? [] : [file]));
}

/**
 * The files that the release would apply, in order. Undefined where its files can't be listed: those of an image are inside
 * of it.
 * @param version what the database has; null where nothing was ever applied.
 */
export async function pendingMigrations(
  source: MigrationSource,
  version: number | null,
): Promise<string[] | undefined> {
  const names = await fileNames(source);
  return names && pendingOf(upFiles(names), version).todo.map(({ file }) => file);
}

/** The schema version that a release needs, by its own files. Undefined where they can't be listed; null where it has none. */
export async function neededVersion(source: MigrationSource): Promise<number | null | undefined> {
  const names = await fileNames(source);
  return names && (upFiles(names).at(-1)?.version ?? null);
}

/** What is wrong with a release's names; undefined where nothing is, or they can't be listed. @param waivers of the stack file. */
export async function misnamedMigrations(
  source: MigrationSource,
  waivers: readonly Waiver[],
): Promise<string | undefined> {
  const unread = notAllowedUnread(unreadFiles((await fileNames(source)) ?? []), waivers);
  return unread.length === 0 ? undefined : unreadText(unread);
}

/**
 * What is wrong with a release's numbers, as far as the releases in the slots tell: files that golang-migrate would pass over. Undefined where
 * nothing is, or nobody knows. The deployment itself knows better: it writes down what it applies.
 * @param held the releases in the slots, that which serves first.
 * @param waivers of the stack file.
 */
export async function lateMigrations(
  source: MigrationSource,
  version: number,
  held: readonly MigrationSource[],
  waivers: readonly Waiver[],
): Promise<string | undefined> {
  const [names, serves, ...others] = await Promise.all([source, ...held].map(fileNames));
  if (names === undefined || serves === undefined) return undefined;
  const known = new Set(
    [...serves, ...others.flat()].flatMap((name) =>
      name === undefined ? [] : upFiles([name]).map(({ file }) => file),
    ),
  );
  const allowed = allowedLate(waivers);
  const late = pendingOf(upFiles(names), version, known).late.filter(({ file }) => !allowed.has(file));
  return late.length === 0 ? undefined : lateText(late, version, known);
}
