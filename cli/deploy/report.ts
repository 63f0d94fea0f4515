import { plainSetting } from "../../config/release.ts";
import { containerName } from "../../ops/contract/names.ts";
import { describeRelease, isSameRelease, otherSlot } from "../../ops/contract/release.ts";
import { slotNames, type SlotName } from "../../ops/contract/steps.ts";
import { seconds } from "../../ops/contract/units.ts";
import { isDevelopment } from "../development/refuse.ts";
import type { Ending } from "../exit-codes.ts";
import { columns, invocation } from "../output.ts";
import type { PlainSettings, StackFile } from "../stack-file.ts";
import type { Deployment, DeploymentResult } from "./deployment.ts";
import { phaseTitle, type PhaseTracker } from "./phases.ts";
import type { StackOutputs } from "./pulumi-stack.ts";

/** Facts about a deployment at its end, beside its result. */
export interface Ended {
  deployment: Deployment;
  settings: PlainSettings;
  tracker: PhaseTracker;
  outputs: StackOutputs | undefined;
  /** Start time, in ms since the epoch. */
  started: number;
  /** Whether Pulumi's run succeeded. */
  ok: boolean;
  /** Maintenance was on when it began. */
  maintenance: boolean;
  /** The difference between the router's answer and the stack file after a successful run. Undefined: none. */
  unlike: string | undefined;
  /** A sentence about what serves after a failure. */
  sentence: string;
  /** The stack file was corrected to what serves. */
  putRight: boolean;
  /** Removes secrets from the output of steps. */
  redact: (text: string) => string;
}

/** The end of a deployment as text. */
export function endText(result: DeploymentResult, ended: Ended): string {
  const { deployment, settings, tracker, outputs, started, ok, unlike } = ended;
  const { file, dryRun } = deployment;
  if (unlike !== undefined) return ["", `FAILED: ${unlike}.`, ...stillOff(file.stack)].join("\n");
  if (ok) {
    if (dryRun) return previewText(result, tracker);
    const success = isDevelopment(settings)
      ? developmentSuccess(result, settings.name, started)
      : successText(result, outputs, started, ended.maintenance);
    return [success, ...warningLines(tracker.stepWarnings.map(ended.redact), result.deploymentId, file.stack)].join(
      "\n",
    );
  }
  const headline = failureHeadline(result.ending, tracker, started);
  if (dryRun) return [headline, ...result.errors].join("\n");
  const { deploymentId } = tracker;
  const next = ended.putRight
    ? afterRollback(file, settings.activeSlot, result.serving?.slot, deploymentId)
    : wayOut(deployment, settings, result.ending, tracker);
  return ["", headline, ...result.errors, "", ended.sentence, ...next].join("\n");
}

/** A short summary of the steps' warnings, which were printed among other output. */
function warningLines(warnings: readonly string[], deploymentId: string | undefined, stack: string): string[] {
  if (warnings.length === 0) return [];
  const whole = deploymentId === undefined ? "" : `; in full: ${invocation(`logs ${deploymentId} --stack ${stack}`)}`;
  return [
    `with ${warnings.length === 1 ? "a warning" : `${warnings.length} warnings`}, shown above${whole}`,
    ...warnings.map((warning) => `  ${warning.split("\n")[0] ?? ""}`),
  ];
}

function failureHeadline(ending: Ending, { failed }: PhaseTracker, started: number): string {
  const after = seconds(Date.now() - started);
  if (ending === "interrupted") return `INTERRUPTED after ${after}.`;
  if (failed === undefined) return "FAILED.";
  return `FAILED: ${phaseTitle(failed)}, after ${after}.`;
}

/** Suggested commands after a failure. */
export function wayOut(
  deployment: Pick<Deployment, "file" | "before" | "skipMigrations" | "force">,
  settings: Pick<PlainSettings, "activeSlot" | "slots" | "environment">,
  ending: Ending,
  { failed, deploymentId }: Pick<PhaseTracker, "failed" | "deploymentId">,
): string[] {
  const { file, before } = deployment;
  const on = `--stack ${file.stack}`;
  const flags = [
    ...(deployment.skipMigrations ? [" --skip-migrations"] : []),
    ...(deployment.force ? [" --force"] : []),
  ].join("");
  const setting = settings.slots[settings.activeSlot];
  const wanted = isDevelopment(settings)
    ? "the working tree"
    : `${settings.activeSlot}${setting === undefined ? "" : ` with ${describeRelease(plainSetting(setting))}`}`;
  const commands: [string, string][] = [];
  const idle = otherSlot(settings.activeSlot);
  // A release that passed its gate here before can only fail because of its settings. A rollback does not know the
  // earlier ones.
  const changed =
    failed?.phase === "gate" &&
    setting !== undefined &&
    isSameRelease(plainSetting(setting), before.slots[settings.activeSlot]);
  const idleFails = failed?.phase === "gate" && failed.subject === idle && settings.activeSlot === before.serving?.slot;
  // Otherwise the file names already what serves: a rollback would go to the other slot.
  const pending =
    settings.activeSlot !== before.serving?.slot ||
    slotNames.some((slot) => {
      const one = settings.slots[slot];
      return one !== undefined && !isSameRelease(plainSetting(one), before.slots[slot]);
    });
  const again =
    ending === "config"
      ? "once that is right"
      : ending === "lock"
        ? "once the other one has ended"
        : changed || idleFails || (!pending && failed?.phase === "switch")
          ? "once the settings are right"
          : "goes on where this one stopped";
  commands.push([invocation(`up ${on}${flags}`), again]);
  if (idleFails)
    commands.push([
      `npm run pulumi -- config rm --path togather:slots.${idle} ${on}`,
      `and then up: gives up, ${idle} is empty until the next release`,
    ]);
  else if (before.serving !== undefined && pending)
    commands.push([
      invocation(`rollback ${on}`),
      `gives up${changed ? ", with the settings as they were" : ""}: ${before.serving.slot} stays, and the file says so again`,
    ]);
  if (deploymentId !== undefined) commands.push([invocation(`logs ${deploymentId} ${on}`), "shows the whole log"]);
  return [
    `${file.name} says what is wanted: ${wanted}.`,
    columns(commands.map(([command, what]) => [`  → ${command}`, what])),
  ];
}

/** Suggested commands after a run that did everything, while the router's answer is not as expected. */
function stillOff(stack: string): string[] {
  return [
    columns([
      [`  → ${invocation(`status --stack ${stack}`)}`, "shows what is down"],
      [`  → ${invocation(`up --stack ${stack}`)}`, "looks again at what is to serve"],
    ]),
  ];
}

/**
 * Suggested commands after traffic was sent back: the file names again what serves, and the release stays in its slot
 * for inspection.
 */
function afterRollback(
  file: StackFile,
  failed: SlotName,
  serving: SlotName | undefined,
  deploymentId: string | undefined,
): string[] {
  const on = `--stack ${file.stack}`;
  return [
    `${file.name} says so again: activeSlot is ${serving}. The release stays in ${failed}, idle, and this host does not release it again by itself (--again does).`,
    columns([
      [`  → ${invocation(`release REF ${on}`)}`, `the next release replaces it`],
      ...(deploymentId === undefined
        ? []
        : [[`  → ${invocation(`logs ${deploymentId} ${on}`)}`, "shows the whole log"]]),
    ]),
  ];
}

function successText(
  { serving, url, deploymentId, phases, interruptions }: DeploymentResult,
  outputs: StackOutputs | undefined,
  started: number,
  maintenance: boolean,
): string {
  const interrupted = interruptions.map(
    (what) => `INTERRUPTED: the ${what}'s container was replaced. Requests failed until the new one answered.\n`,
  );
  const release = serving && "release" in serving ? describeRelease(serving.release) : "";
  const did = phases.length === 0 ? "Nothing to do: " : "";
  return `${interrupted.join("")}${did}${serving?.slot ?? "no slot"} serves ${release} at ${url ?? "?"}${maintenance ? ", behind the maintenance page" : ""} (deployment ${deploymentId ?? outputs?.deploymentId ?? "?"}, ${seconds(Date.now() - started)})`;
}

function developmentSuccess({ url, phases }: DeploymentResult, name: string, started: number): string {
  return `${phases.length === 0 ? "Nothing to do: the" : "The"} working tree is served at ${url ?? "?"} (${seconds(Date.now() - started)}); docker logs -f ${containerName(name, "dev")} shows every build`;
}

/** The changes that Pulumi would make, by phase. */
function previewText({ changes, interruptions, ending }: DeploymentResult, tracker: PhaseTracker): string {
  const touched = tracker.phases.map(phaseTitle);
  const counts = Object.entries(changes)
    .filter(([operation, count]) => !["same", "read"].includes(operation) && (count ?? 0) > 0)
    .map(([operation, count]) => `${count ?? 0} to ${operation}`);
  if (counts.length === 0) return "Nothing to do: all is as the file says.";
  const interrupted = interruptions.map(
    (what) =>
      `INTERRUPTS: the ${what}'s container is replaced (${what === "router" ? "its image or ports change" : "its image, port or maxConnections changes"}). Requests fail until the new one answers, some seconds later.\n`,
  );
  return `${interrupted.join("")}Would run: ${touched.join(", ")}\nPulumi: ${counts.join(", ")}, ${changes["same"] ?? 0} unchanged. Nothing was changed.${
    ending === "ok"
      ? ""
      : `\nIt would not get through: ${ending === "config" ? "a check has failed" : "the migrations would stop it"} (above).`
  }`;
}
