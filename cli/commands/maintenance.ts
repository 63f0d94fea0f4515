import { hostname } from "node:os";
import { Argument, InvalidArgumentError, type Command } from "commander";
import { maintenanceText } from "../../config/maintenance.ts";
import { deployedBy } from "../../ops/host/deployed-by.ts";
import type { Maintenance } from "../../ops/host/serving-slot.ts";
import { readContext, withCommonOptions, type CommonOptions } from "../context.ts";
import { refuseWithoutSlots } from "../development/refuse.ts";
import { Failure } from "../failure.ts";
import { askMaintenance, setMaintenance } from "../host/maintenance.ts";
import { invocation } from "../output.ts";

interface MaintenanceOptions extends CommonOptions {
  message?: string;
}

/** Longest message, in characters. */
const longestMessage = 500;
function checkedMessage(text: string): string {
  if (text.length > longestMessage) throw new InvalidArgumentError(`expected at most ${longestMessage} characters`);
  return text;
}

export function maintenanceCommand(program: Command): void {
  withCommonOptions(program.command("maintenance"))
    .summary("answer the public with a maintenance page, or no longer; without a word, say which")
    .description(
      "With on, the router answers 503 with a page (or JSON, by Accept) to every new request; with off it sends them to the slot that serves again. Previews and ACME challenges go on. It survives restarts, and deployments neither end it nor fail because of it.",
    )
    .addArgument(new Argument("[state]", "on or off").choices(["on", "off"]))
    .option("--message <text>", "with on: what people are told", checkedMessage)
    .action(async (state: "on" | "off" | undefined, _options, command: Command) => {
      const options = command.optsWithGlobals<MaintenanceOptions>();
      const { file, settings, output } = await readContext(options);
      refuseWithoutSlots("maintenance", file, settings);
      if (options.message !== undefined && state !== "on")
        throw new Failure("config", "--message is for maintenance on", invocation("maintenance on --message …"));
      const about = { name: settings.name, host: settings.host, stack: file.stack };
      const wanted: Maintenance | undefined =
        state === "on"
          ? {
              since: new Date().toISOString(),
              by: `${deployedBy(process.env)}@${hostname()}`,
              message: options.message ?? "",
            }
          : undefined;
      if (state !== undefined) {
        if (!(await setMaintenance(about, wanted)))
          output.warn(
            `the router does so now, and would not after a restart: its state/maintenance.json can't be ${state === "on" ? "written" : "removed"}. Once there is room on its disk, run this again.`,
          );
      }
      // What is said is what the router answers.
      const now = await askMaintenance(about);
      output.result({ stack: file.stack, maintenance: now ?? null }, () =>
        now === undefined
          ? "Maintenance is off: the public reaches the slot that serves."
          : `${maintenanceText(now)}\n  → to look at what serves meanwhile: ${invocation(`preview-url --slot SLOT --stack ${file.stack}`)}\n  → ${invocation(`maintenance off --stack ${file.stack}`)}`,
      );
    });
}
