import { resolve } from "node:path";
import {
  differences,
  hadIn,
  isRecordWrong,
  startOf,
  trafficProblem,
  type Difference,
  type RealNow,
} from "../../config/differences.ts";
import { planSentences, releasedSlot, type Before } from "../../config/plan.ts";
import { plainSettings } from "../../config/release.ts";
import { createRedactor, type Redactor } from "../../ops/contract/redact.ts";
import { lookAtHost } from "../../ops/host/serving-slot.ts";
import { unlessUnreachable } from "../../ops/host/unreachable.ts";
import { project } from "../../toolchain/setup.ts";
import { isDevelopment } from "../development/refuse.ts";
import { examine, findingsText } from "../doctor/doctor.ts";
import { countFindings, type Finding } from "../doctor/finding.ts";
import { exitCodes } from "../exit-codes.ts";
import { differencesOf, wantedOf } from "../host/drift.ts";
import { look, type HostReport } from "../host/look.ts";
import { invocation, type Output } from "../output.ts";
import type { PlainSettings } from "../stack-file.ts";
import { heldText, isLocked, locksIn } from "./backend-lock.ts";
import type { Deployment, DeploymentResult } from "./deployment.ts";
import { endingOf, errorText } from "./ending.ts";
import { Interrupts } from "./interrupts.ts";
import { noteFailed } from "./note-failed.ts";
import { explainPassphrase } from "./passphrase.ts";
import type { PhaseTracker } from "./phases.ts";
import type { PulumiStack, RunEnd, StackOutputs } from "./pulumi-stack.ts";
import { willStop } from "../../ops/contract/migration-findings.ts";
import { rebuildState, recordOf } from "./rebuild-state.ts";
import { endText } from "./report.ts";
import { runPulumi } from "./run-pulumi.ts";
import { schemaVersion } from "./schema-version.ts";
import { servingNow } from "./serving-now.ts";

/** The migrations that the new release would run. Undefined: unknown. */
async function migrationsOf(
  settings: PlainSettings,
  before: Before,
  pulumi: PulumiStack,
): Promise<string[] | undefined> {
  const { activeSlot, slots, source } = settings;
  const release = slots[releasedSlot(before.slots, { activeSlot, slots: plainSettings(slots) })];
  if (release === undefined || !("commit" in release)) return undefined;
  // Loaded here: only a dry run needs it.
  const { pendingMigrations } = await import("../../ops/client/pending-migrations.ts");
  const version = await schemaVersion(settings, () => Promise.resolve(pulumi));
  return version === undefined
    ? undefined
    : pendingMigrations(
        { repository: resolve(project, source.repository), commit: release.commit, path: source.migrations },
        version,
      );
}

/**
 * The real state of the host before a deployment. Undefined: nothing exists yet, or it is unknown; when the host does
 * not answer, the run itself reports the error.
 */
async function realNow(
  settings: PlainSettings,
  { before: { slots }, now: asked }: Pick<Deployment, "before" | "now">,
): Promise<(RealNow & { served: RealNow["had"]; maintenance: boolean }) | undefined> {
  if (isDevelopment(settings)) return undefined;
  const now = asked ?? (await lookAtHost(settings.name, settings.host).catch(unlessUnreachable));
  if (now === undefined || (now.router === undefined && Object.keys(now.states).length === 0)) return undefined;
  const { router, states, held, served } = now;
  return {
    router,
    states,
    held,
    had: hadIn({ served, left: slots }),
    served,
    maintenance: router?.maintenance !== undefined,
  };
}

/**
 * Whether Pulumi has to refresh all resources first: only then does it create a container again that is gone but still
 * in its state.
 */
const needsRefresh = (found: readonly Difference[]): boolean =>
  found.some(({ kind, repair }) => kind === "missing" && repair === "make");

/** The plan of a deployment in words, and a dry run's additions to Pulumi's preview. */
interface Plan {
  sentences: string[];
  /** Dry run only: files of the migrations that would run. Undefined: unknown. */
  migrations: string[] | undefined;
  examined: Promise<Finding[]> | undefined;
}

/** Plans a deployment, and prints the plan. */
async function sayPlan(
  { file, pulumi, before, output, dryRun, skipMigrations, force }: Deployment,
  real: Awaited<ReturnType<typeof realNow>>,
): Promise<Plan> {
  const settings = file.settings();
  const { activeSlot, rollout, standby } = settings;
  const start = real === undefined ? before : startOf(wantedOf(settings), real, real.served);
  const migrations = dryRun ? await migrationsOf(settings, start, pulumi) : undefined;
  const skips = skipMigrations || settings.skipMigrations;
  const wanted = { activeSlot, slots: plainSettings(settings.slots), rollout, standby, skipMigrations: skips, force };
  const examined = dryRun ? examine({ file, settings, pulumi }, project, before.slots) : undefined;
  const sentences = isDevelopment(settings)
    ? ["one server runs the working tree, and is built again at every change"]
    : planSentences(start, { ...wanted, migrations });
  output.say(`${dryRun ? "Dry run" : "Deploying"} ${file.stack}: ${sentences.join("; ")}`);
  if (!skips) for (const migration of migrations ?? []) output.say(`  ${migration}`);
  if (force)
    output.warn(
      "--force: a lock that somebody else holds does not stop this run, nor does a change to the slot that serves, which interrupts traffic.",
    );
  if (skipMigrations)
    output.warn(
      "--skip-migrations: no snapshot is taken and no migration runs. The next deployment without it makes up for both.",
    );
  return { sentences, migrations, examined };
}

/** The errors that stopped a run, each once, without Pulumi's wrapping and without secrets. */
function errorsOf(end: RunEnd, { failed, diagnostics }: PhaseTracker, stack: string, redactor: Redactor): string[] {
  if (end.ok) return [];
  const said = isLocked(end.said)
    ? heldText(locksIn(end.said), invocation(`unlock --force --stack ${stack}`))
    : errorText([explainPassphrase(end.said)]);
  return [
    errorText(failed?.errors ?? []),
    errorText(diagnostics.errors),
    failed || diagnostics.errors.length > 0 ? "" : said,
  ]
    .filter((text) => text !== "")
    .map((text) => redactor.text(text));
}

/**
 * Asks the router after a run that had no traffic to move, and rewrites lost files of the state directory.
 * @returns the host's report. Undefined: there was no need to ask.
 */
async function askAfterwards(
  settings: PlainSettings,
  outputs: StackOutputs | undefined,
  tracker: PhaseTracker,
  output: Output,
): Promise<{ report: HostReport | undefined; unlike: string | undefined }> {
  const ran = (wanted: string): boolean => tracker.phases.some(({ phase }) => phase === wanted);
  // A switch has asked the router itself.
  if (outputs === undefined || isDevelopment(settings) || (ran("switch") && ran("record")))
    return { report: undefined, unlike: undefined };
  const report = await look(settings);
  const found = differencesOf(settings, report);
  const unlike = ran("switch") ? undefined : trafficProblem(found, { name: settings.name, file: "the stack file" });
  // Pulumi does not run an unchanged record step again.
  const request = !ran("record") && isRecordWrong(found) ? recordOf(settings, report, outputs) : undefined;
  if (request !== undefined) {
    await rebuildState(request, settings.host);
    output.warn(
      `${settings.stateLocation}/deployment-state.json was lost, or could not be written; it is written again from what runs.`,
    );
  }
  return { report, unlike };
}

/**
 * Runs `pulumi up` (or the preview) for the stack file, shows its progress, and reports its end.
 * @returns the exit code.
 */
export async function deploy(deployment: Deployment): Promise<number> {
  const interrupts = new Interrupts(deployment.within?.signal);
  try {
    return await run(deployment, interrupts);
  } finally {
    interrupts.end();
  }
}

async function run(deployment: Deployment, interrupts: Interrupts): Promise<number> {
  const { file, pulumi, before, output, dryRun } = deployment;
  const settings = file.settings();
  const real = await realNow(settings, deployment);
  const plan = await sayPlan(deployment, real);
  const started = Date.now();
  const found = real === undefined ? [] : differences(wantedOf(settings), undefined, real);
  const refresh = before.serving !== undefined && needsRefresh(found);
  if (refresh)
    output.say("A container was removed by hand: Pulumi looks at all that there is first, and makes it again.");
  const redactor = createRedactor(process.env);
  const redact = (text: string): string => redactor.text(text);
  const { end, tracker } = await runPulumi(deployment, interrupts, refresh, redact);

  const findings = (await plan.examined) ?? [];
  const badly = findings.filter(({ status }) => status !== "ok");
  if (findings.length > 0)
    output.say(`Checks: ${countFindings(findings)}${badly.length === 0 ? "" : `\n${findingsText(badly)}`}`);
  const foreseen = end.ok && badly.some(({ status }) => status === "fail");
  const stopping = end.ok && dryRun && tracker.diagnostics.warnings.some((warning) => warning.includes(willStop));
  const runEnding = foreseen ? "config" : stopping ? "migration" : endingOf(end, tracker);
  const errors = errorsOf(end, tracker, file.stack, redactor);
  const warnings = [...new Set(tracker.diagnostics.warnings)].map((warning) => redactor.text(warning));
  for (const warning of warnings) output.warn(warning);
  const { failed, deploymentId } = tracker;
  if (!end.ok && !dryRun && runEnding !== "interrupted" && failed !== undefined && deploymentId !== undefined)
    await noteFailed(settings, deploymentId, failed, errors[0] ?? "failed");
  const outputs = end.ok && !dryRun ? (end.outputs ?? (await pulumi.outputs())) : undefined;
  const { report, unlike } = await askAfterwards(settings, outputs, tracker, output);
  if (unlike !== undefined) errors.push(unlike);
  // After traffic was sent back, the router knows best which slot serves.
  const now =
    end.ok || dryRun
      ? { sentence: "", serving: outputs?.serving ?? before.serving }
      : await servingNow(settings, before, deployment.meanwhile);
  const ending = unlike === undefined ? runEnding : "other";
  const putRight = ending === "rolledBack" && now.serving !== undefined && now.serving.slot !== settings.activeSlot;
  if (putRight && now.serving !== undefined) {
    file.setActiveSlot(now.serving.slot);
    file.save();
  }
  const result: DeploymentResult = {
    ok: end.ok && !foreseen && !stopping && unlike === undefined,
    ending,
    exitCode: exitCodes[ending].code,
    dryRun,
    plan: plan.sentences,
    ...(dryRun ? { migrations: plan.migrations ?? null, checks: findings } : {}),
    // A run without changes belongs to the deployment before it.
    deploymentId: dryRun ? undefined : (deploymentId ?? outputs?.deploymentId),
    serving: unlike === undefined ? now.serving : report?.router.slot && { slot: report.router.slot },
    url: outputs?.httpsUrl ?? outputs?.url,
    phases: tracker.phases.map(({ phase, subject, status, startedAt, endedAt, detail }) => ({
      phase,
      subject,
      status,
      durationMs: (endedAt ?? startedAt) - startedAt,
      detail,
    })),
    changes: end.changes,
    interruptions: tracker.interruptions,
    errors,
    warnings: [...warnings, ...tracker.stepWarnings.map(redact)],
  };
  const { sentence } = now;
  output.result(result, () =>
    endText(result, {
      deployment,
      settings,
      tracker,
      outputs,
      started,
      ok: end.ok,
      maintenance: real?.maintenance === true,
      unlike,
      sentence,
      putRight,
      redact,
    }),
  );
  if (output.json && (!end.ok || unlike !== undefined)) process.stderr.write(`${errors.join("\n")}\n${sentence}\n`);
  return exitCodes[ending].code;
}
