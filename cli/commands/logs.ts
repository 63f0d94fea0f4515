import type { Command } from "commander";
import { readContext, withCommonOptions, type CommonOptions } from "../context.ts";
import { Failure } from "../failure.ts";
import { DockerHost, NotOnHost } from "../host/docker-host.ts";
import { entriesOf } from "../host/entries.ts";
import { look } from "../host/look.ts";
import { isSuccess, prettyLine } from "../host/log-line.ts";
import { invocation } from "../output.ts";

interface LogsOptions extends CommonOptions {
  follow?: boolean;
}

export function logsCommand(program: Command): void {
  withCommonOptions(program.command("logs"))
    .summary("the log of a deployment")
    .description("Shows the log of a deployment, the last one unless another is named. The host keeps it as JSON lines; --json shows those.")
    .argument("[id]", "of the deployment, or the beginning of it: see history")
    .option("-f, --follow", "go on with what is added, until the deployment has succeeded or Ctrl-C")
    .action(async (id: string | undefined, _options, command: Command) => {
      const options = command.optsWithGlobals<LogsOptions>();
      const { file, settings, output } = await readContext(options);
      const seeHistory = invocation(`history --stack ${file.stack}`);
      if (id !== undefined && !/^[\w-]+$/.test(id)) throw new Failure("config", `${JSON.stringify(id)} is no id of a deployment`, seeHistory);
      const entry = entriesOf(await look(settings)).find((one) => id === undefined || one.id.startsWith(id));
      if (entry === undefined) throw new Failure("config", id === undefined ? `no deployment of ${file.stack} is recorded` : `the history of ${file.stack} has no deployment ${id}`, seeHistory);
      const show = (line: string): void => {
        process.stdout.write(`${output.json ? line : prettyLine(line)}\n`);
      };
      const host = new DockerHost(settings.host);
      const mounts = { directories: { "/logs": settings.logLocation } };
      const path = `/logs/${entry.id}.log`;
      try {
        if (options.follow !== true) {
          const text = await host.run(["cat", path], mounts);
          text.split("\n").filter((line) => line !== "").forEach(show);
          return;
        }
        const stop = new AbortController();
        for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => { stop.abort(); });
        await host.follow(path, mounts, (line) => {
          show(line);
          return isSuccess(line) ? "enough" : undefined;
        }, stop.signal);
      } catch (error) {
        if (error instanceof NotOnHost || (error instanceof Error && /No such file/.test(error.message))) {
          throw new Failure("other", `the log of ${entry.id} is not on the Docker host, expected ${settings.logLocation}/${entry.id}.log`, "togather:deployment.logging.location may have been changed since");
        }
        throw error;
      }
    });
}
