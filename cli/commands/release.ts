import type { Command } from "commander";
import { project } from "../../toolchain/setup.ts";
import { deployContext, readContext, ready, withDeployOptions, type DeployOptions } from "../context.ts";
import { deploy } from "../deploy/deploy.ts";
import { otherSlot } from "../../config/plan.ts";
import { resolveRelease } from "../deploy/resolve-release.ts";
import { refuseWithoutSlots } from "../development/refuse.ts";

interface ReleaseOptions extends DeployOptions {
  version?: string;
}

export function releaseCommand(program: Command, end: (code: number) => void): void {
  withDeployOptions(program.command("release"))
    .summary("put a commit or an image into the idle slot, and move traffic there")
    .description("Writes a release into the idle slot of Pulumi.<stack>.yaml, flips activeSlot, and deploys. What serves goes on serving until the new release has passed its gate.")
    .argument("[ref]", "commit, tag or branch of togather:source.repository (HEAD unless given), or an image: name@sha256:…")
    .option("--version <version>", "what to call it; `git describe --tags --always` unless given")
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
      file.setSlot(slot, release);
      file.setActiveSlot(slot);
      if (options.dryRun !== true) file.save();
      end(await deploy({ ...context, dryRun: options.dryRun === true, skipMigrations: options.skipMigrations === true, force: options.force === true }));
    });
}
