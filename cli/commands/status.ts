import { styleText } from "node:util";
import { trafficProblem } from "../../config/differences.ts";
import type { Command } from "commander";
import { maintenanceText } from "../../config/maintenance.ts";
import { primaryUrl } from "../../config/public-url.ts";
import { slotNames, type SlotName } from "../../ops/contract/steps.ts";
import { readContext, withCommonOptions, type CommonOptions, type ReadContext } from "../context.ts";
import { describeRelease } from "../../ops/contract/release.ts";
import { developmentText, lookAtDevelopment } from "../development/look.ts";
import { isDevelopment } from "../development/refuse.ts";
import { differencesOf, driftOf } from "../host/drift.ts";
import { entriesOf } from "../host/entries.ts";
import { look, type Health, type HostReport, type SlotReport } from "../host/look.ts";
import { ago, at, columns, invocation } from "../output.ts";

function healthText(health: Health | undefined): string {
  if (health === undefined) return "-";
  const { status, version, detail } = health;
  const text = [
    status,
    ...(version === undefined ? [] : [`answers as ${version}`]),
    ...(detail === undefined ? [] : [detail]),
  ].join(", ");
  return styleText(status === "healthy" ? "green" : status === "degraded" ? "yellow" : "red", text);
}

function containerText({ container }: SlotReport): string {
  if (container === undefined) return "none";
  const { state, since, exitCode, restarts } = container;
  const again = restarts > 0 ? `, restarted ${restarts} times` : "";
  // No problem: a stopped standby looks like this.
  if (state === "exited" && exitCode === 0) return `stopped ${ago(since)} ago`;
  return state === "running"
    ? `running for ${ago(since)}${again}`
    : `${state}${state === "exited" ? ` with code ${exitCode}` : ""}${again}`;
}

/** The time from which the slot that serves has had the traffic. */
function since({ router, state }: HostReport): string | undefined {
  if (router.persisted !== undefined && router.persisted.slot === router.slot) return router.persisted.changedAt;
  return state !== undefined && state.active_slot === router.slot ? state.finished_at : undefined;
}

const capitalized = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** @param problem what keeps requests from the slot that is to serve, as a sentence. */
function servingLine(report: HostReport, problem: string | undefined): string {
  const { router, slots, state, states } = report;
  if (router.state === undefined && Object.keys(states).length === 0)
    return "Nothing is deployed here: there is no router.";
  if (router.slot === undefined || problem?.startsWith("nothing serves") === true)
    return styleText("red", `${capitalized(problem ?? "nothing serves")}.`);
  const { release } = slots[router.slot];
  const from = since(report);
  const recorded =
    state === undefined
      ? "nothing is recorded"
      : state.active_slot === router.slot
        ? "recorded so"
        : `recorded as ${state.active_slot}`;
  const what = release === undefined ? router.slot : `${router.slot} ${describeRelease(release)}`;
  return `${styleText("bold", what)} serves${from === undefined ? "" : ` since ${at(from)} (${ago(from)})`}: by the router's own answer; ${recorded}`;
}

function text(
  { file, settings }: ReadContext,
  report: HostReport,
  { drift, problem }: { drift: readonly string[]; problem: string | undefined },
): string {
  const serves = (slot: SlotName): string => (report.router.slot === slot ? "serves" : "idle");
  const [last] = entriesOf(report);
  const rows = slotNames.map((slot) => {
    const one = report.slots[slot];
    return [
      slot,
      one.container === undefined ? "" : serves(slot),
      one.release === undefined ? "-" : describeRelease(one.release),
      containerText(one),
      healthText(one.health),
    ];
  });
  return [
    `${file.stack}: ${primaryUrl(settings)}${settings.host === "" ? "" : ` on ${settings.host}`}`,
    servingLine(report, problem),
    ...(report.router.maintenance === undefined
      ? []
      : [
          styleText("yellow", maintenanceText(report.router.maintenance)),
          `  → ${invocation(`maintenance off --stack ${file.stack}`)}`,
        ]),
    "",
    columns([["SLOT", "", "RELEASE", "CONTAINER", "HEALTH"], ...rows]),
    "",
    ...(last === undefined
      ? ["No deployment is recorded."]
      : [
          `Last deployment: ${last.id}, ${last.status}${last.failedPhase === undefined ? "" : ` at ${last.failedPhase}`}, ${ago(last.endedAt ?? last.startedAt)} ago${last.deployedBy === undefined ? "" : `, by ${last.deployedBy}`}`,
        ]),
    ...(report.lock === undefined
      ? []
      : [
          styleText(
            "yellow",
            `A deployment is running: ${report.lock.held_by}, since ${at(report.lock.since)} (${ago(report.lock.since)})`,
          ),
        ]),
    ...(drift.length === 0
      ? ["No drift: the host is what the file says."]
      : [
          ...drift.map((line) => styleText("yellow", `Drift: ${line}`)),
          `  → ${invocation(`up --stack ${file.stack}`)} makes it so; ${invocation(`rollback --stack ${file.stack}`)} after a failed release gives it up`,
        ]),
  ].join("\n");
}

export function statusCommand(program: Command): void {
  withCommonOptions(program.command("status"))
    .summary("show what serves, what both slots hold, and whether that is what the file says")
    .description(
      "Shows what serves, by the router's own answer, and the release and health of both slots. Compares them with Pulumi.<stack>.yaml. Changes nothing.",
    )
    .action(async (_options, command: Command) => {
      const context = await readContext(command.optsWithGlobals<CommonOptions>());
      if (isDevelopment(context.settings)) {
        const { lock, ...server } = await lookAtDevelopment(context.settings);
        const { stack } = context.file;
        context.output.result(
          { stack, environment: context.settings.environment, server, deploying: lock ?? null },
          () => developmentText(stack, { ...server, lock }),
        );
        return;
      }
      const report = await look(context.settings);
      const found = differencesOf(context.settings, report);
      const drift = driftOf(context.file, context.settings, found);
      const problem = trafficProblem(found, { name: context.settings.name, file: context.file.name });
      const { slots, router, state, lock } = report;
      const serving =
        router.slot === undefined
          ? null
          : {
              slot: router.slot,
              release: slots[router.slot].release ?? null,
              since: since(report) ?? null,
              health: router.health ?? null,
            };
      const document = {
        stack: context.file.stack,
        serving,
        maintenance: router.maintenance ?? null,
        slots,
        router,
        recorded: state ?? null,
        deploying: lock ?? null,
        lastDeployment: entriesOf(report)[0] ?? null,
        wanted: { activeSlot: context.settings.activeSlot, slots: context.settings.slots },
        drift,
      };
      context.output.result(document, () => text(context, report, { drift, problem }));
    });
}
