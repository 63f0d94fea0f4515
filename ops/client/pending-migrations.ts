/** The migrations that a release would run: compares its files with the database's version. Changes nothing. */
import { execFile } from "node:child_process";
import { readdirSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { promisify } from "node:util";
import { allowedLate, lateText, notAllowedUnread, pendingOf, unreadText } from "../contract/pending-migrations.ts";
import type { Waiver } from "../contract/migration-findings.ts";
import { sourceOf } from "../contract/release.ts";
import { unreadFiles, upFiles } from "../contract/migrations.ts";
import { gitEnvironment, neutralGit } from "./git.ts";

/** The place of a release's migrations. */
export interface MigrationSource {
  /** Directory of the git repository. */
  repository: string;
  /** A commit, or `tree-<hash>` for the files as they are. */
  commit: string;
  /** Directory in the repository. */
  path: string;
}

/** Names of the files in a directory of a commit, or of the working tree. Undefined: no such commit or directory. */
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

/** The files of a release that another one lacks, in order. Undefined: the files of one of them can't be listed. */
export async function newMigrations(source: MigrationSource, other: MigrationSource): Promise<string[] | undefined> {
  const [names, known] = await Promise.all([fileNames(source), fileNames(other)]);
  return names && known && upFiles(names).flatMap(({ file }) => (known.includes(file) ? [] : [file]));
}

/**
 * The files that the release would apply, in order. Undefined: its files can't be listed, since an image contains them.
 * @param version the database's version; null where no migration was ever applied.
 */
export async function pendingMigrations(
  source: MigrationSource,
  version: number | null,
): Promise<string[] | undefined> {
  const names = await fileNames(source);
  return names && pendingOf(upFiles(names), version).todo.map(({ file }) => file);
}

/** The schema version that a release needs, from its own files. Undefined: they can't be listed; null: it has none. */
export async function neededVersion(source: MigrationSource): Promise<number | null | undefined> {
  const names = await fileNames(source);
  return names && (upFiles(names).at(-1)?.version ?? null);
}

/**
 * The problem of a release's file names. Undefined: none, or they can't be listed.
 * @param waivers exceptions of the stack file.
 */
export async function misnamedMigrations(
  source: MigrationSource,
  waivers: readonly Waiver[],
): Promise<string | undefined> {
  const unread = notAllowedUnread(unreadFiles((await fileNames(source)) ?? []), waivers);
  return unread.length === 0 ? undefined : unreadText(unread);
}

/**
 * The problem of a release's file numbers, judged by the releases in the slots: files that golang-migrate would skip.
 * Undefined: none, or unknown. The deployment itself knows better: it records the files that it applies.
 * @param held the releases in the slots, the one that serves first.
 * @param waivers exceptions of the stack file.
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
