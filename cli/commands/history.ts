import { styleText } from "node:util";
import { InvalidArgumentError, type Command } from "commander";
import { readContext, withCommonOptions, type CommonOptions } from "../context.ts";
import { describeRelease } from "../../ops/contract/release.ts";
import { seconds } from "../../ops/contract/units.ts";
import { entriesOf, type Entry } from "../host/entries.ts";
import { look } from "../host/look.ts";
import { at, columns } from "../output.ts";

interface HistoryOptions extends CommonOptions {
  limit: number;
}

const colours = {
  succeeded: "green",
  failed: "red",
  "rolled back": "red",
  interrupted: "red",
  "in progress": "yellow",
} as const;

function row(entry: Entry): string[] {
  const { id, status, slot, version, commit, startedAt, durationMs, deployedBy, failedPhase, error, runs } = entry;
  const why = [failedPhase, error?.split("\n")[0]].filter((part) => part !== undefined).join(": ");
  return [
    id,
    styleText(colours[status], status),
    slot ?? "",
    version === undefined ? "" : describeRelease({ version, commit: commit ?? "" }),
    at(startedAt),
    durationMs === undefined ? "" : seconds(durationMs),
    deployedBy ?? "",
    [...(runs > 1 ? [`run ${runs} times`] : []), ...(why === "" ? [] : [why])].join("; "),
  ];
}

function positive(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) throw new InvalidArgumentError("expected a number from 1 up");
  return number;
}

export function historyCommand(program: Command): void {
  withCommonOptions(program.command("history"))
    .summary("list deployments, failed ones too, newest first")
    .description("Lists the recorded deployments, newest first, failed and interrupted ones too, with the reason.")
    .option("-n, --limit <count>", "show at most this many", positive, 20)
    .action(async (_options, command: Command) => {
      const options = command.optsWithGlobals<HistoryOptions>();
      const { settings, output } = await readContext(options);
      const entries = entriesOf(await look(settings));
      const shown = entries.slice(0, options.limit);
      output.result(shown, () => {
        if (shown.length === 0) return "No deployment is recorded.";
        const rest = entries.length - shown.length;
        const table = columns([
          ["DEPLOYMENT", "STATUS", "SLOT", "RELEASE", "BEGAN", "TOOK", "BY", ""],
          ...shown.map(row),
        ]);
        return rest > 0 ? `${table}\n${rest} older: --limit ${entries.length}` : table;
      });
    });
}
