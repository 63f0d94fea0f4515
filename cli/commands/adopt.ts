import type { Command } from "commander";
import { project } from "../../toolchain/setup.ts";
import { auditEnvironment } from "../adopt/audit.ts";
import { auditFindings, nodeFindings } from "../adopt/findings.ts";
import { ForeignHost } from "../adopt/host.ts";
import { lookAtNode } from "../adopt/look.ts";
import { deployShNode } from "../adopt/node.ts";
import { serverEnvironment, templatePath } from "../adopt/server-source.ts";
import { readContext, withCommonOptions, type CommonOptions } from "../context.ts";
import { showFindings } from "../doctor/doctor.ts";
import { Failure } from "../failure.ts";
import { invocation } from "../output.ts";

export function adoptCommand(program: Command, end: (code: number) => void): void {
  withCommonOptions(program.command("adopt"))
    .summary("look at a node that deploy.sh made, and say what stands in the way of this stack there")
    .description("Looks at the containers, the database, the environment file, Caddy's file and the ports of a node that Togather's deploy.sh made, on the stack's Docker host. Changes nothing: moving the data and the traffic is not part of it.")
    .option("--dry-run", "required: looking is all that there is so far")
    .action(async (_options, command: Command) => {
      const options = command.optsWithGlobals<CommonOptions & { dryRun?: boolean }>();
      const { file, settings, output } = await readContext(options);
      if (options.dryRun !== true) throw new Failure("config", "adopt only looks; it moves neither data nor traffic", `${invocation(`adopt --dry-run --stack ${file.stack}`)}; docs/from-deploy-sh.md says what it looks at`);
      const node = await lookAtNode(new ForeignHost(settings.host), deployShNode(settings.environment));
      const server = await serverEnvironment(settings, project);
      const audit = node.environmentFile === undefined ? undefined : auditEnvironment(node.environmentFile, { ...server, source: settings.source });
      const findings = [
        ...nodeFindings(node, settings),
        ...(audit === undefined ? [] : auditFindings(audit, node.names.environmentFile, server.template === undefined ? undefined : templatePath(settings.environment))),
      ];
      end(showFindings(output, findings, { more: { serving: node.serving ?? null, audit: audit ?? null }, closing: ". Nothing was changed." }));
    });
}
