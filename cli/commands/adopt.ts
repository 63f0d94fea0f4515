import type { Command } from "commander";
import { project } from "../../toolchain/setup.ts";
import { adopt, undo } from "../adopt/adopt.ts";
import { auditEnvironment } from "../adopt/audit.ts";
import { auditFindings, nodeFindings } from "../adopt/findings.ts";
import { ForeignHost } from "../adopt/host.ts";
import { lookAtNode } from "../adopt/look.ts";
import { deployShNode } from "../adopt/node.ts";
import { planText, prepare, refuseStack } from "../adopt/prepare.ts";
import { Adoption } from "../adopt/record.ts";
import { serverEnvironment, templatePath } from "../adopt/server-source.ts";
import { deployContext, readContext, withCommonOptions, type CommonOptions } from "../context.ts";
import { showFindings } from "../doctor/doctor.ts";
import { Failure } from "../failure.ts";

interface AdoptCommandOptions extends CommonOptions {
  dryRun?: boolean;
  prepare?: boolean;
  undo?: boolean;
  yes?: boolean;
}

/**
 * Looks, and reports the plan.
 * @returns the exit code.
 */
async function lookOnly(options: CommonOptions): Promise<number> {
  const { file, settings, output } = await readContext(options);
  refuseStack(settings, file);
  const { record } = new Adoption(project, file.stack);
  const host = new ForeignHost(settings.host);
  const node = await lookAtNode(host, deployShNode(settings.environment));
  const server = await serverEnvironment(settings, project);
  const audit =
    node.environmentFile === undefined
      ? undefined
      : auditEnvironment(node.environmentFile, { ...server, source: settings.source });
  const { findings: more, plan } =
    record.done === undefined && record.takeover === undefined
      ? await prepare({ host, node, settings, project, read: server.read, record })
      : { findings: [], plan: undefined };
  const findings = [
    ...nodeFindings(node, settings, record.ports === undefined),
    ...more,
    ...(audit === undefined
      ? []
      : auditFindings(
          audit,
          node.names.environmentFile,
          server.template === undefined ? undefined : templatePath(settings.environment),
          true,
        )),
  ];
  const code = showFindings(output, findings, {
    more: { serving: node.serving ?? null, audit: audit ?? null },
    closing: ". Nothing was changed.",
  });
  if (plan !== undefined && code === 0) output.say(planText(plan, file, settings));
  return code;
}

export function adoptCommand(program: Command, end: (code: number) => void): void {
  withCommonOptions(program.command("adopt"))
    .summary("take over a node that deploy.sh made: its settings, its data, its traffic")
    .description(
      "Takes over a node that Togather's deploy.sh made, on the stack's Docker host, in four steps: environment file into settings and secrets; a deployment beside the old node; a trial copy of the data, every row counted; the takeover. The old node serves until the takeover; then it is stopped, not removed. The same command again goes on where the last run stopped.",
    )
    .option("--dry-run", "show what was found and what would be done; change nothing")
    .option("--prepare", "do all but the takeover; the old node goes on serving")
    .option("--undo", "go back to the old node, while the takeover is not over")
    .option("-y, --yes", "don't ask")
    .action(async (_options, command: Command) => {
      const options = command.optsWithGlobals<AdoptCommandOptions>();
      if (options.undo === true && (options.prepare === true || options.dryRun === true))
        throw new Failure("config", "--undo goes with neither --prepare nor --dry-run", "one of them");
      if (options.dryRun === true) {
        end(await lookOnly(options));
        return;
      }
      const context = await deployContext(options);
      const { settings } = context;
      const { read } = await serverEnvironment(settings, project);
      const job = {
        context,
        host: new ForeignHost(settings.host),
        names: deployShNode(settings.environment),
        project,
        read,
      };
      end(
        await (options.undo === true
          ? undo(job, { yes: options.yes === true })
          : adopt(job, { prepare: options.prepare === true, yes: options.yes === true })),
      );
    });
}
