import { InvalidArgumentError, Option, type Command } from "commander";
import { slotNames, type SlotName } from "../../ops/contract/steps.ts";
import { createRedactor } from "../../ops/contract/redact.ts";
import { readContext, withCommonOptions, type CommonOptions, type ReadContext } from "../context.ts";
import { Failure } from "../failure.ts";
import { containerOf } from "../host/container.ts";
import { showContainerLog } from "../host/container-log.ts";
import { DockerHost, NotOnHost } from "../host/docker-host.ts";
import { entriesOf } from "../host/entries.ts";
import { look } from "../host/look.ts";
import { isSuccess, prettyLine } from "../host/log-line.ts";
import { invocation } from "../output.ts";

interface LogsOptions extends CommonOptions {
  slot?: SlotName | "router";
  follow?: boolean;
  tail?: number;
}

function checkedCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("expected a number of lines, such as 100");
  return Number(text);
}

/** Aborted by Ctrl-C and the like: followed output has no other end. */
function untilStopped(): AbortSignal {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.once(signal, () => {
      stop.abort();
    });
  return stop.signal;
}

/** Shows a container's own output. Its lines keep their stream, stdout or stderr. */
async function showPart(
  context: ReadContext,
  part: SlotName | "router",
  { follow = false, tail }: LogsOptions,
): Promise<void> {
  const { name } = await containerOf(context, part);
  // A server may print anything, and people send its log to colleagues.
  const redactor = createRedactor({});
  const { host } = context.settings;
  await showContainerLog(
    { host, container: name, tail, follow },
    (line, stream) => {
      process[stream].write(`${redactor.text(line)}\n`);
    },
    untilStopped(),
  );
}

export function logsCommand(program: Command): void {
  withCommonOptions(program.command("logs"))
    .summary("show the log of a deployment; with --slot, of a server or the router")
    .description(
      "Shows the log of a deployment (default: the last one). With --slot, the log of a server or of the router. The host keeps deployment logs as JSON lines; --json shows them.",
    )
    .argument("[id]", "id of the deployment, or the beginning of it, see history")
    .addOption(
      new Option("--slot <slot>", "log of a server or of the router, instead of a deployment's").choices([
        ...slotNames,
        "router",
      ]),
    )
    .option("-f, --follow", "follow the log until the deployment succeeds or Ctrl-C")
    .option("--tail <count>", "show only this many lines from the end", checkedCount)
    .action(async (id: string | undefined, _options, command: Command) => {
      const options = command.optsWithGlobals<LogsOptions>();
      const context = await readContext(options);
      const { file, settings, output } = context;
      if (options.slot !== undefined) {
        if (id !== undefined)
          throw new Failure(
            "config",
            `${JSON.stringify(id)} names a deployment, and --slot ${options.slot} a container: one of them`,
            `${invocation(`logs ${id} --stack ${file.stack}`)}, or the same without it`,
          );
        await showPart(context, options.slot, options);
        return;
      }
      const seeHistory = invocation(`history --stack ${file.stack}`);
      if (id !== undefined && !/^[\w-]+$/.test(id))
        throw new Failure("config", `${JSON.stringify(id)} is not the id of a deployment`, seeHistory);
      const entry = entriesOf(await look(settings)).find((one) => id === undefined || one.id.startsWith(id));
      if (entry === undefined)
        throw new Failure(
          "config",
          id === undefined
            ? `no deployment of ${file.stack} is recorded`
            : `the history of ${file.stack} has no deployment ${id}`,
          seeHistory,
        );
      const show = (line: string): void => {
        process.stdout.write(`${output.json ? line : prettyLine(line)}\n`);
      };
      const host = new DockerHost(settings.host);
      const mounts = { directories: { "/logs": settings.logLocation } };
      const path = `/logs/${entry.id}.log`;
      try {
        if (options.follow !== true) {
          const text = await host.run(["cat", path], mounts);
          const lines = text.split("\n").filter((line) => line !== "");
          lines.slice(Math.max(0, lines.length - (options.tail ?? lines.length))).forEach(show);
          return;
        }
        await host.follow(
          path,
          mounts,
          (line) => {
            show(line);
            return isSuccess(line) ? "enough" : undefined;
          },
          untilStopped(),
          options.tail,
        );
      } catch (error) {
        if (error instanceof NotOnHost || (error instanceof Error && /No such file/.test(error.message))) {
          throw new Failure(
            "other",
            `the log of ${entry.id} is not on the Docker host, expected ${settings.logLocation}/${entry.id}.log`,
            "togather:deployment.logging.location may have been changed since",
          );
        }
        throw error;
      }
    });
}
