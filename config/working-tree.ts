import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { StackSettings } from "./schema/stack-settings.ts";

type Source = Pick<StackSettings["source"], "repository" | "paths" | "migrations">;

/** A directory of the operator's working tree and its path in the container. */
export interface SourceMount {
  hostPath: string;
  containerPath: string;
}

/** The repository's path in the container of the development environment. */
export const sourceRoot = "/source";

/**
 * The mounts of the working tree: the directories of `source.paths`, so that neither secrets files nor node_modules are
 * mounted. Where one of the paths is a file, the whole repository: an editor replaces a file by a new one, which a
 * mount of the file itself would not show. The migrations are also at /migrations.
 */
export function sourceMounts({ repository, paths, migrations }: Source): SourceMount[] {
  const root = resolve(repository);
  const directories = paths.every(
    (path) => lstatSync(join(root, path), { throwIfNoEntry: false })?.isDirectory() === true,
  );
  return [
    ...(directories ? paths : ["."]).map((path) => ({
      hostPath: join(root, path),
      containerPath: join(sourceRoot, path),
    })),
    // The same path as in the image of the bundled server, which looks up the schema version that it needs there.
    { hostPath: join(root, migrations), containerPath: "/migrations" },
  ];
}

/**
 * A hash of the working tree's migrations: it changes when a file comes, goes or changes.
 * @throws {Error} when there is no such directory.
 */
export function migrationsHash({ repository, migrations }: Source): string {
  const directory = resolve(repository, migrations);
  const hash = createHash("sha256");
  for (const name of readdirSync(directory).sort()) {
    if (!name.endsWith(".sql")) continue;
    const content = readFileSync(join(directory, name));
    hash.update(`${name}\0${content.length}\0`).update(content);
  }
  return hash.digest("hex");
}
