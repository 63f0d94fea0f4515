import type { Command } from "commander";
import { project } from "../../toolchain/setup.ts";
import { deployContext, readContext, ready, withDeployOptions, type DeployContext, type DeployOptions } from "../context.ts";
import { deploy } from "../deploy/deploy.ts";
import { Failure } from "../failure.ts";
import { invocation } from "../output.ts";
import { otherSlot } from "../../config/plan.ts";
import { resolveRelease } from "../deploy/resolve-release.ts";
import { refuseWithoutSlots } from "../development/refuse.ts";

interface ReleaseOptions extends DeployOptions {
  version?: string;
  /** False for --no-switch. */
  switch: boolean;
}

/** @throws {Failure} where there is no slot that could be filled and left idle. */
function refuseNoSwitch({ before, settings, file }: Pick<DeployContext, "before" | "settings" | "file">): void {
  if (before.serving === undefined) throw new Failure("config", "nothing serves yet: the first release can't be left idle", invocation(`release --stack ${file.stack}`));
  if (settings.standby === "removed") {
    throw new Failure("config", `togather:standby in ${file.name} is removed: the idle slot has no container`, `set it to running or stopped, or leave out --no-switch`);
  }
}

export function releaseCommand(program: Command, end: (code: number) => void): void {
  withDeployOptions(program.command("release"))
    .summary("put a commit or an image into the idle slot, and move traffic there")
    .description("Writes a release into the idle slot of Pulumi.<stack>.yaml, flips activeSlot, and deploys. What serves goes on serving until the new release has passed its gate.")
    .argument("[ref]", "commit, tag or branch of togather:source.repository (HEAD unless given), or an image: name@sha256:…")
    .option("--version <version>", "what to call it; the tag that was typed, or `git describe --tags --always`, unless given")
    .option("--no-switch", "fill the idle slot, through its gate, and leave traffic where it is: to look at the release first")
    .action(async (reference: string | undefined, _options, command: Command) => {
      const options = command.optsWithGlobals<ReleaseOptions>();
      const read = await readContext(options);
      refuseWithoutSlots("release", read.file, read.settings);
      const found = await deployContext(options);
      const { release, warning } = await resolveRelease(found.settings.source, project, reference, options.version);
      if (warning !== undefined) found.output.warn(warning);
      const context = await ready(found, options);
      const { file, settings, before } = context;
      // Idle is what does not serve, whatever the file says: a release that failed has flipped it already.
      const slot = before.serving === undefined ? settings.activeSlot : otherSlot(before.serving.slot);
      if (!options.switch) refuseNoSwitch(context);
      file.setSlot(slot, release);
      if (options.switch) file.setActiveSlot(slot);
      else if (before.serving !== undefined) file.setActiveSlot(before.serving.slot);
      if (options.dryRun !== true) file.save();
      const code = await deploy({ ...context, dryRun: options.dryRun === true, skipMigrations: options.skipMigrations === true, force: options.force === true });
      if (code === 0 && !options.switch && options.dryRun !== true) {
        context.output.say(`${slot} holds ${release.version}, idle.\n  → to look at it: ${invocation(`preview-url --stack ${file.stack}`)}\n  → to move traffic there: ${invocation(`release ${reference ?? ("commit" in release ? release.commit : release.image)} --version ${release.version} --stack ${file.stack}`)}`);
      }
      end(code);
    });
}
