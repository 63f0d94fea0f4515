/** The migrations of a release, as a tar for the step's stdin: the Docker host has no clone of the repository. */
import { basename } from "node:path/posix";
import type { StepRequest } from "../contract/steps.ts";
import { StepError } from "../contract/errors.ts";
import { factsFile } from "../contract/file-facts.ts";
import { findingsFile } from "../contract/migration-findings.ts";
import { collect, commitArchive, findCommit, treeArchive } from "./archive.ts";
import { lfsPointer, submoduleOf } from "./missing-content.ts";
import { docker, dockerProblem, lastLines, tryDocker } from "../host/docker.ts";

/** Files from an image; the image need not be able to run. */
async function fromImage(image: string, path: string, signal: AbortSignal): Promise<Buffer> {
  const container = await docker(["create", "--network=none", image, "none"], { signal });
  try {
    const { ok, bytes, stderr: said } = await tryDocker(["cp", `${container}:${path}`, "-"], { signal });
    if (ok) return bytes;
    if (/could not find the file|no such/i.test(said)) {
      throw new StepError(`the image ${image} has no ${path}: ${lastLines(said, 1)}`, {
        hint: `set togather:source.migrations to the directory of ${basename(path)} in the image`,
      });
    }
    throw dockerProblem(said);
  } finally {
    await docker(["rm", "--force", container]).catch(() => undefined);
  }
}

/** The release's migrations. */
export async function migrationFiles(source: StepRequest<"migrate">["source"], signal: AbortSignal): Promise<Buffer> {
  switch (source.kind) {
    case "image":
      return fromImage(source.image, source.path, signal);
    case "tree":
      return collect(treeArchive(source.repository, [source.path]));
    case "commit": {
      const { id } = await findCommit(source.repository, source.commit);
      const submodule = await submoduleOf(source.repository, id, source.path);
      if (submodule !== undefined) {
        throw new StepError(
          `${source.path} is ${submodule === source.path ? "" : "in "}the submodule ${submodule} of commit ${source.commit}: its files are another repository's, and not in the commit`,
          {
            hint: "have the migrations in the server's own repository, or in its image (a release by digest, where togather:source.migrations is a path in the image)",
          },
        );
      }
      return collect(commitArchive(source.repository, id, [source.path]));
    }
  }
}

/**
 * Data for the steps: the migrations, the facts of PostgreSQL's parser, and the lint's findings. Only the step knows,
 * under golang-migrate's lock, which files are still to be applied.
 */
export async function migrationPayload(
  { source, lint }: Pick<StepRequest<"migrate">, "source" | "lint">,
  signal: AbortSignal,
): Promise<Buffer> {
  const tar = await migrationFiles(source, signal);
  const [{ factsOfAll }, { textsIn, withFile }] = await Promise.all([
    import("../lint/facts.ts"),
    import("./migration-tar.ts"),
  ]);
  const texts = await textsIn(tar, source);
  const pointers = [...texts].flatMap(([name, text]) => (text.startsWith(lfsPointer) ? [name] : []));
  if (pointers.length > 0) {
    throw new StepError(
      `${pointers.join(", ")} in ${source.path}: Git LFS keeps ${pointers.length === 1 ? "this file" : "these files"} elsewhere, and only ${pointers.length === 1 ? "a pointer is" : "pointers are"} in the repository`,
      { hint: "keep migrations out of Git LFS (.gitattributes), commit that and release the commit" },
    );
  }
  const told = withFile(tar, factsFile, JSON.stringify(await factsOfAll(texts)));
  if (lint === "off") return told;
  const { lintMigrations } = await import("../lint/lint.ts");
  const { findings } = await lintMigrations(texts);
  return findings.length === 0 ? told : withFile(told, findingsFile, JSON.stringify(findings));
}
