import type { Command } from "commander";
import { project } from "../../toolchain/setup.ts";
import {
  deployContext,
  readContext,
  ready,
  withDeployOptions,
  type DeployContext,
  type DeployOptions,
} from "../context.ts";
import { awaitingLock } from "../deploy/await-lock.ts";
import { requested, type Deployment } from "../deploy/deployment.ts";
import { deploy } from "../deploy/deploy.ts";
import { Failure } from "../failure.ts";
import { at, invocation } from "../output.ts";
import { plainSetting } from "../../config/release.ts";
import { describeRelease, isNamedBy, otherSlot, typedCommit } from "../../ops/contract/release.ts";
import { lookAtHost } from "../../ops/host/serving-slot.ts";
import type { Release } from "../../ops/contract/steps.ts";
import { sentBackAs } from "../../ops/contract/sent-back.ts";
import { resolveRelease } from "../deploy/resolve-release.ts";
import { refuseWithoutSlots } from "../development/refuse.ts";

interface ReleaseOptions extends DeployOptions {
  version?: string;
  /** False for --no-switch. */
  switch: boolean;
  again?: boolean;
}

/** @throws {Failure} where there is no slot that could be filled and left idle. */
function refuseNoSwitch({ before, settings, file }: Pick<DeployContext, "before" | "settings" | "file">): void {
  if (before.serving === undefined)
    throw new Failure(
      "config",
      "nothing serves yet: the first release can't be left idle",
      invocation(`release --stack ${file.stack}`),
    );
  if (settings.standby === "removed") {
    throw new Failure(
      "config",
      `togather:standby in ${file.name} is removed: the idle slot has no container`,
      `set it to running or stopped, or leave out --no-switch`,
    );
  }
}

/** @throws {Failure} for a release from which this host has sent traffic back, before anything is written. */
async function refuseSentBack(
  { settings: { name, host }, file: { stack }, looked }: Pick<DeployContext, "settings" | "file" | "looked">,
  release: Release,
  typed: string,
): Promise<void> {
  const { router } = looked ?? (await lookAtHost(name, host));
  const sentBack = router?.slot === undefined ? undefined : sentBackAs(router.sentBack, release);
  // The program's own refusal, before the stack file changes.
  if (sentBack === undefined) return;
  throw new Failure(
    "config",
    `${describeRelease(release)} was released on this host before, and all traffic was sent back from it at ${at(sentBack.at)}${sentBack.why === "" ? "" : `: ${sentBack.why}`}. Nothing was changed.`,
    `release a mended one; or, to release this one again on purpose: ${invocation(`release ${typed} --again --stack ${stack}`)}`,
  );
}

export function releaseCommand(program: Command, end: (code: number) => void): void {
  withDeployOptions(program.command("release"))
    .summary("put a commit or an image into the idle slot, and move traffic there")
    .description(
      "Writes a release into the idle slot of Pulumi.<stack>.yaml, flips activeSlot, and deploys. The old release serves until the new one has passed its gate.",
    )
    .argument(
      "[ref]",
      "commit, tag or branch of togather:source.repository (HEAD unless given), or an image: name@sha256:…",
    )
    .option(
      "--version <version>",
      "name of the release (default: the tag that was typed, or `git describe --tags --always`)",
    )
    .option("--no-switch", "fill the idle slot and pass its gate, but don't move traffic: look at the release first")
    .option("--again", "release again what this host has sent traffic back from")
    .action(async (reference: string | undefined, _options, command: Command) => {
      const options = command.optsWithGlobals<ReleaseOptions>();
      end(await awaitingLock(options, "release", (within) => releaseTo(reference, options, within)));
    });
}

/** @returns the exit code. */
async function releaseTo(
  reference: string | undefined,
  options: ReleaseOptions,
  within: Deployment["within"],
): Promise<number> {
  const read = await readContext(options);
  refuseWithoutSlots("release", read.file, read.settings);
  // Git, the host and Pulumi at the same time; where several fail, the errors of the latter two come first.
  const resolving = resolveRelease(read.settings.source, project, reference, options.version);
  resolving.catch(() => undefined);
  const found = await deployContext(options, read);
  const { release, warning } = await resolving;
  if (warning !== undefined) found.output.warn(warning);
  const context = await ready(found, options);
  const { file, settings, before } = context;
  // The idle slot is the one that does not serve, whatever the file says: a failed release has flipped the file
  // already.
  const slot = before.serving === undefined ? settings.activeSlot : otherSlot(before.serving.slot);
  if (!options.switch) refuseNoSwitch(context);
  const plain = plainSetting(release);
  if (options.switch && options.again !== true && !isNamedBy(settings.releaseAgain, plain))
    await refuseSentBack(
      context,
      plain,
      [
        reference ?? typedCommit(plain),
        ...(options.version === undefined ? [] : [`--version ${options.version}`]),
      ].join(" "),
    );
  file.setSlot(slot, release);
  if (options.switch) file.setActiveSlot(slot);
  else if (before.serving !== undefined) file.setActiveSlot(before.serving.slot);
  if (options.dryRun !== true) file.save();
  const code = await deploy({
    ...requested(context, options, within),
    again: options.again === true ? plain.commit : undefined,
  });
  if (code === 0 && !options.switch && options.dryRun !== true) {
    context.output.say(
      `${slot} holds ${release.version}, idle.\n  → to look at it: ${invocation(`preview-url --stack ${file.stack}`)}\n  → to move traffic there: ${invocation(`release ${reference ?? ("commit" in release ? release.commit : release.image)} --version ${release.version} --stack ${file.stack}`)}`,
    );
  }
  return code;
}
