import { existsSync, readFileSync } from "node:fs";
import type { Command } from "commander";
import { project } from "../../toolchain/setup.ts";
import { auditEnvironment } from "../adopt/audit.ts";
import { auditFindings } from "../adopt/findings.ts";
import { ForeignHost } from "../adopt/host.ts";
import { deployShNode } from "../adopt/node.ts";
import { serverEnvironment, templatePath } from "../adopt/server-source.ts";
import { readContext, withCommonOptions, type CommonOptions } from "../context.ts";
import { showFindings } from "../doctor/doctor.ts";
import { Failure } from "../failure.ts";
import { invocation } from "../output.ts";
import type { PlainSettings } from "../stack-file.ts";

function readLocal(path: string): string {
  if (!existsSync(path))
    throw new Failure(
      "config",
      `there is no file ${path}`,
      "name the environment file as it is on this machine, or leave it out: then the Docker host's is read",
    );
  return readFileSync(path, "utf8");
}

/** The environment file of a node that deploy.sh made. */
async function readFromHost({ host, environment }: PlainSettings): Promise<{ name: string; text: string }> {
  const names = deployShNode(environment);
  const foreign = new ForeignHost(host);
  const container = await foreign.container(names.database);
  const text = container === undefined ? undefined : await foreign.file(container.image, names.environmentFile);
  if (text !== undefined) return { name: names.environmentFile, text };
  const what = container === undefined ? `no container ${names.database}` : `no ${names.environmentFile}`;
  throw new Failure("config", `the Docker host has ${what}`, invocation("env audit FILE, with a file of this machine"));
}

export function envCommand(program: Command, end: (code: number) => void): void {
  const group = withCommonOptions(program.command("env")).summary(
    "compare an environment file with the server's template",
  );
  withCommonOptions(group.command("audit"))
    .summary("compare an environment file with the server's template")
    .description(
      "Compares an environment file with the server's template and its Go files, and says where each variable belongs in a stack. Shows names, never values.",
    )
    .argument("[file]", "environment file on this machine (default: the node's, on the Docker host)")
    .option("--template <file>", "template on this machine (default: the one in togather:source.repository)")
    .action(async (path: string | undefined, _options, command: Command) => {
      const options = command.optsWithGlobals<CommonOptions & { template?: string }>();
      const { settings, output } = await readContext(options);
      const file = path === undefined ? await readFromHost(settings) : { name: path, text: readLocal(path) };
      const server = await serverEnvironment(settings, project);
      const template = options.template === undefined ? server.template : readLocal(options.template);
      const audit = auditEnvironment(file.text, { ...server, template, source: settings.source });
      const findings = auditFindings(
        audit,
        file.name,
        template === undefined ? undefined : (options.template ?? templatePath(settings.environment)),
      );
      end(showFindings(output, findings, { more: { audit } }));
    });
}
