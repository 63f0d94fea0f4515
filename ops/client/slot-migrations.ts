/** The migrations of the releases in the slots: they show which ones a database has, where no record exists yet. */
import { containerName } from "../contract/names.ts";
import { slotNames, type StepRequest } from "../contract/steps.ts";
import { sourceOf } from "../contract/release.ts";
import { upFiles } from "../contract/migrations.ts";
import { tryDocker } from "../host/docker.ts";
import { fileNames } from "./pending-migrations.ts";
import { lookAtHost } from "../host/serving-slot.ts";

type Source = StepRequest<"migrate">["source"];

/** Names in a directory of a slot's container, which need not run. */
async function namesInContainer(container: string, path: string): Promise<string[] | undefined> {
  const { ok, stdout } = await tryDocker(["exec", container, "ls", path]).catch(() => ({ ok: false, stdout: "" }));
  return ok ? stdout.split("\n") : undefined;
}

/** @returns null where no slot has a release whose files can be listed. */
export async function slotMigrations({
  name,
  source,
}: {
  name: string;
  source: Source;
}): Promise<{ files: string[] | null }> {
  const { serving } = await lookAtHost(name, "");
  const lists = await Promise.all(
    slotNames.map(async (slot): Promise<string[] | undefined> => {
      const commit = serving?.held?.[slot]?.commit;
      if (commit === undefined) return undefined;
      if (source.kind === "image") return namesInContainer(containerName(name, slot), source.path);
      return sourceOf({ commit }).kind === "tree"
        ? undefined
        : await fileNames({ repository: source.repository, commit, path: source.path });
    }),
  );
  const known = lists.flatMap((names) => (names === undefined ? [] : upFiles(names).map(({ file }) => file)));
  // Without the files of the release that serves, files missing in the list may have been applied.
  const serves = serving === undefined ? undefined : lists[slotNames.indexOf(serving.slot)];
  return { files: serves === undefined ? null : [...new Set(known)] };
}
