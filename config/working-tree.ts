import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { StackSettings } from "./schema/stack-settings.ts";

type Source = Pick<StackSettings["source"], "repository" | "paths" | "migrations">;

/** A directory of the operator's working tree and where the container sees it. */
export interface SourceMount {
  hostPath: string;
  containerPath: string;
}

/** Where the container of the development environment sees the repository. */
export const sourceRoot = "/source";

/**
 * What of the working tree is mounted: the directories of `source.paths`, so that neither secrets files nor node_modules are.
 * Where one of the paths is a file, the whole repository: an editor replaces a file by another one, which a mount of the
 * file itself would not follow. The migrations are at /migrations, too.
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
    // Where the image of the bundled server has them: it looks up which schema it needs.
    { hostPath: join(root, migrations), containerPath: "/migrations" },
  ];
}

/**
 * A hash of the migrations as they are in the working tree: another one when a file comes, goes or changes.
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
