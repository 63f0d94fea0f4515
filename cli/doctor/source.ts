import { resolve } from "node:path";
import { gitEnvironment, neutralGit } from "../../ops/client/git.ts";
import { slotNames } from "../../ops/contract/steps.ts";
import { run } from "../../toolchain/run.ts";
import { plainSetting, releaseOfSetting } from "../../config/release.ts";
import { describeRelease } from "../../ops/contract/release.ts";
import type { PlainSettings } from "../stack-file.ts";
import { fail, ok, warn, type Finding } from "./finding.ts";

/** Checks of the slots' sources: the commits exist, and no change is uncommitted. */
export async function sourceFindings(
  { slots, source }: Pick<PlainSettings, "slots" | "source">,
  project: string,
): Promise<Finding[]> {
  const repository = resolve(project, source.repository);
  const git = (...args: string[]) =>
    run("git", [...neutralGit, "-C", repository, ...args], { env: gitEnvironment(process.env) });
  const findings: Finding[] = [];
  let fromGit = false;
  for (const slot of slotNames) {
    const setting = slots[slot];
    if (setting === undefined) continue;
    const check = `release of ${slot}`;
    const { kind, id } = releaseOfSetting(setting).source;
    const name = describeRelease(plainSetting(setting));
    if (kind !== "commit") {
      findings.push(ok(check, `${name}, ${kind === "tree" ? "from files without history" : "an image by digest"}`));
      continue;
    }
    fromGit = true;
    const there = await git("cat-file", "-e", `${id}^{commit}`);
    findings.push(
      there.ok
        ? ok(check, `${name} is in ${source.repository}`)
        : fail(
            check,
            `${name} is not in ${source.repository}`,
            "a commit that is there",
            `git -C ${source.repository} fetch --all --tags`,
          ),
    );
  }
  if (!fromGit) return findings;
  const { ok: asked, stdout } = await git("status", "--porcelain", "--", ...source.paths);
  const changed = stdout.split("\n").filter((line) => line !== "").length;
  if (asked)
    findings.push(
      changed === 0
        ? ok("source tree", "clean")
        : warn(
            "source tree",
            `${changed} changes in ${source.paths.join(", ")} are not committed`,
            "a clean tree: commits are deployed, not files",
            "git status; git commit",
          ),
    );
  return findings;
}
