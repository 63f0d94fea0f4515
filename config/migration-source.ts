import type { StepRequest } from "../ops/contract/steps.ts";
import type { StackSettings } from "./schema/stack-settings.ts";

/** Where a release's migrations are: in its image, in a commit, or in a directory as it is. */
export function migrationSource(
  release: { commit: string; image?: string | undefined },
  source: Pick<StackSettings["source"], "migrations" | "repository">,
): StepRequest<"migrate">["source"] {
  const { migrations: path, repository } = source;
  if (release.image !== undefined) return { kind: "image", image: release.image, path };
  return release.commit.startsWith("tree-")
    ? { kind: "tree", repository, digest: release.commit, path }
    : { kind: "commit", repository, commit: release.commit, path };
}
