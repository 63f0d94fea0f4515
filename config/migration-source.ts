import { printSource } from "../ops/contract/release.ts";
import type { StepRequest } from "../ops/contract/steps.ts";
import type { SlotRelease } from "./release.ts";
import type { StackSettings } from "./schema/stack-settings.ts";

/** The source of a release's migrations: its image, a commit, or a directory as it is. */
export function migrationSource(
  { source: from }: Pick<SlotRelease, "source">,
  source: Pick<StackSettings["source"], "migrations" | "repository">,
): StepRequest<"migrate">["source"] {
  const { migrations: path, repository } = source;
  switch (from.kind) {
    case "image":
      return { kind: "image", image: from.reference, path };
    case "tree":
      return { kind: "tree", repository, digest: printSource(from), path };
    case "commit":
      return { kind: "commit", repository, commit: from.id, path };
  }
}
