import { containerName } from "../../ops/contract/names.ts";
import { isStateLost, rebuildState, recordOf } from "./rebuild-state.ts";
import { resolve } from "node:path";
import { pendingMigrations } from "../../ops/client/pending-migrations.ts";
import { lookAtHost, servingSlot } from "../../ops/host/serving-slot.ts";
import { rolledBackExitCode } from "../../ops/contract/errors.ts";
import { createRedactor } from "../../ops/contract/redact.ts";
import type { SlotName } from "../../ops/contract/steps.ts";
import { seconds } from "../../ops/contract/units.ts";
import { project } from "../../toolchain/setup.ts";
import { isDevelopment } from "../development/refuse.ts";
import { examine, findingsText } from "../doctor/doctor.ts";
import { countFindings, type Finding } from "../doctor/finding.ts";
import type { HeldLock } from "../snapshots/host-lock.ts";
import { exitCodes, type Ending } from "../exit-codes.ts";
import { wantedOf } from "../host/drift.ts";
import { look, type HostReport } from "../host/look.ts";
import { columns, invocation, type Output } from "../output.ts";
import type { PlainSettings, StackFile } from "../stack-file.ts";
import { areStale, describeLock, heldText, isLocked, locksIn } from "./backend-lock.ts";
import { explainPassphrase } from "./passphrase.ts";
import { saysTooLong } from "./long-output.ts";
import { endingOfPhase, PhaseTracker, type Interruption } from "./phases.ts";
import { rolloutWords } from "../../config/schema/rollout.ts";
import { differences } from "../../config/differences.ts";
import { planSentences, releasedSlot, type Before, type Serving } from "../../config/plan.ts";
import { plainSetting, plainSettings } from "../../config/release.ts";
import { describeRelease } from "../../ops/contract/release.ts";
import { noteFailed } from "./note-failed.ts";
import { Progress } from "./progress.ts";
import type { PulumiStack, RunEnd, StackOutputs } from "./pulumi-stack.ts";
import { schemaVersion } from "./schema-version.ts";

/** What is to be deployed, and how. */
export interface Deployment {
  /** As it is to be: with the release in it, the slot flipped. */
  file: StackFile;
  pulumi: PulumiStack;
  before: Before;
  output: Output;
  dryRun: boolean;
  /** For this run only: nothing of it is written to the file. */
  skipMigrations: boolean;
  force: boolean;
  /** The commit of a release that was sent back and is asked for again, for this run. */
  again?: string | undefined;
  /** The lock of the command that runs it, and the signal that ends that command: both are this deployment's, too. */
  within?: { lock: HeldLock | undefined; signal: AbortSignal } | undefined;
}

/** What a deployment says to a machine. */
export interface DeploymentResult {
  ok: boolean;
  ending: Ending;
  exitCode: number;
  dryRun: boolean;
  plan: string[];
  /** Of a dry run: files of the migrations that would run, null where nobody can tell; and what the checks found. */
  migrations?: string[] | null;
  checks?: Finding[];
  deploymentId?: string | undefined;
  serving?: Serving | { slot: SlotName } | undefined;
  url?: string | undefined;
  phases: { phase: string; subject: string; status: string; durationMs: number; detail: string }[];
  changes: RunEnd["changes"];
  /** What is replaced (in a dry run: would be) that both slots need: requests fail meanwhile. */
  interruptions: readonly Interruption[];
  errors: string[];
  warnings: string[];
}

/** How a run ended, by what was seen of it. */
export function endingOf(
  end: Pick<RunEnd, "ok" | "interrupted" | "said" | "refused">,
  tracker: Pick<PhaseTracker, "failed" | "diagnostics">,
): Ending {
  if (end.ok) return "ok";
  if (end.interrupted) return "interrupted";
  // The program's own refusals go by a code; Pulumi's have no other sign than its words.
  if (end.refused !== undefined) return end.refused;
  const said = [end.said, ...tracker.diagnostics.errors].join("\n");
  if (/the stack is currently locked|Another update is currently in progress/.test(said)) return "lock";
  const { failed } = tracker;
  if (failed?.phase === "switch" && failed.errors.some(saysRolledBack)) return "rolledBack";
  if (failed) return endingOfPhase(failed.phase);
  if (
    /incorrect passphrase|passphrase must be set|no stack named|validating stack config|is not a valid configuration/i.test(
      said,
    )
  )
    return "config";
  return "other";
}

/** The step's exit code, in what the command provider says of it. */
function saysRolledBack(error: string): boolean {
  return new RegExp(`^(error: )?exit status ${rolledBackExitCode}: running `, "m").test(error);
}

/** What Pulumi and the command provider put around a step's own words. */
const wrapping = [
  /^(error: )?exit status \d+: running ".*":?$/,
  /^(error: )?(update|preview) failed$/,
  /^(error: )?(resource operation|preview|update|program) failed with .*$/,
  /^\d+ errors? occurred:$/,
  /resource (registration|monitor) /,
  // Progress.
  /^\d\d:\d\d:\d\d (INFO|DEBUG|WARN) /,
];

/** What a step itself said of its failure, once, without Pulumi's wrapping and without its progress. */
export function errorText(messages: readonly string[]): string {
  const lines = messages
    .flatMap((message) => message.split("\n"))
    .filter((line) => line.trim() !== "" && !wrapping.some((pattern) => pattern.test(line.trim())))
    .map((line) =>
      line
        .replace(/^\d\d:\d\d:\d\d ERROR {3}/, "")
        .replace(/^ {10,}→/, "  →")
        .trimEnd(),
    );
  return [...new Set(lines)].join("\n");
}

/** Signals until the end of a command: the first one interrupts Pulumi, and none of them ends this process before it has said how things are. */
class Interrupts {
  onFirst: (signal: string) => void = () => undefined;
  onMore: () => void = () => undefined;
  readonly #controller = new AbortController();
  readonly #handlers = (["SIGINT", "SIGTERM", "SIGHUP"] as const).map(
    (name) =>
      [
        name,
        () => {
          this.#received(name);
        },
      ] as const,
  );

  /** @param outer ends a command that goes on after this deployment: who aborts it hears the signals. */
  constructor(outer?: AbortSignal) {
    if (outer === undefined) for (const [name, handler] of this.#handlers) process.on(name, handler);
    else if (outer.aborted) this.#controller.abort();
    else
      outer.addEventListener(
        "abort",
        () => {
          this.#received(String(outer.reason));
        },
        { once: true },
      );
  }

  /** Aborted by the first signal. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  #received(name: string): void {
    if (this.signal.aborted) {
      this.onMore();
      return;
    }
    this.onFirst(name);
    this.#controller.abort();
  }

  end(): void {
    for (const [name, handler] of this.#handlers) process.off(name, handler);
  }
}

/** The migrations that the new release would run; undefined where nobody can tell. */
async function migrationsOf(
  settings: PlainSettings,
  before: Before,
  pulumi: PulumiStack,
): Promise<string[] | undefined> {
  const { activeSlot, slots, source } = settings;
  const release = slots[releasedSlot(before.slots, { activeSlot, slots: plainSettings(slots) })];
  if (release === undefined || !("commit" in release)) return undefined;
  const version = await schemaVersion(settings, () => Promise.resolve(pulumi));
  return version === undefined
    ? undefined
    : pendingMigrations(
        { repository: resolve(project, source.repository), commit: release.commit, path: source.migrations },
        version,
      );
}

/** What serves at this moment: by the router's own answer, or, where it can't be asked, by the last success. */
async function servingNow(
  settings: PlainSettings,
  before: Before,
): Promise<{ sentence: string; serving: DeploymentResult["serving"] }> {
  if (isDevelopment(settings))
    return { sentence: "A server that runs already goes on watching the working tree.", serving: undefined };
  try {
    const { router, slots } = await look(settings);
    if (router.slot === undefined) return { sentence: "Nothing serves.", serving: undefined };
    const { release, health } = slots[router.slot];
    const as = before.serving?.slot === router.slot ? ", as before" : "";
    const answer =
      health === undefined ? "" : `; it ${health.status === "no answer" ? "does not answer" : `is ${health.status}`}`;
    return {
      sentence: `${router.slot} serves${release === undefined ? "" : ` ${describeRelease(release)}`}${as}${answer}.`,
      serving: release === undefined ? { slot: router.slot } : { slot: router.slot, release },
    };
  } catch {
    const { serving } = before;
    if (serving === undefined) return { sentence: "Nothing has served yet, and the router can't be asked.", serving };
    return {
      sentence: `${serving.slot} served ${describeRelease(serving.release)} before; the router can't be asked now.`,
      serving,
    };
  }
}

/** What is wrong with what serves after a run that had no traffic to move, by the router's own answer; undefined when it is as the run says. */
export function unlikeRouter(
  { router }: Pick<HostReport, "router">,
  wanted: SlotName,
  name: string,
): string | undefined {
  if (router.state !== "running")
    return `nothing serves: the router's container ${router.state === undefined ? "is not there" : `is ${router.state}`}`;
  if (router.slot === undefined)
    return `nothing serves: the router has no slot to send requests to (${router.health?.detail ?? "no answer"})`;
  if (router.slot !== wanted) return `the router sends requests to ${router.slot}, not to ${wanted}`;
  const { health } = router;
  if (
    health === undefined ||
    health.status === "no answer" ||
    (health.status === "unhealthy" && health.version === undefined)
  ) {
    return `the router sends requests to ${wanted}, which does not answer (${health?.detail ?? "no answer"}): docker logs ${containerName(name, wanted)}`;
  }
  return undefined;
}

/** What can be done after a failure. */
function wayOut(
  deployment: Deployment,
  settings: PlainSettings,
  ending: Ending,
  deploymentId: string | undefined,
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
  const again =
    ending === "config"
      ? "once that is right"
      : ending === "lock"
        ? "once the other one has ended"
        : "goes on where this one stopped";
  commands.push([invocation(`up ${on}${flags}`), again]);
  if (before.serving !== undefined)
    commands.push([invocation(`rollback ${on}`), `gives up: ${before.serving.slot} stays, and the file says so again`]);
  if (deploymentId !== undefined) commands.push([invocation(`logs ${deploymentId} ${on}`), "shows the whole log"]);
  return [
    `${file.name} says what is wanted: ${wanted}.`,
    columns(commands.map(([command, what]) => [`  → ${command}`, what])),
  ];
}

/** What can be done when all was done, and the router does not answer so. */
function stillOff(stack: string): string[] {
  return [
    columns([
      [`  → ${invocation(`status --stack ${stack}`)}`, "shows what is down"],
      [`  → ${invocation(`up --stack ${stack}`)}`, "looks again at what is to serve"],
    ]),
  ];
}

/** What can be done after traffic was sent back: the file says again what serves, and the release stays in its slot to be looked at. */
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

/** What has served, where the plan depends on it: what has not moves its traffic step by step. */
async function servedBefore({ name, host, rollout }: PlainSettings): Promise<Before["served"]> {
  if (rolloutWords(rollout) === "") return undefined;
  return servingSlot(name, host).then(
    (now) => now?.served,
    () => undefined,
  );
}

/** Whether a container is gone that Pulumi's state has still: it is made again only once Pulumi has looked. */
async function hasLostContainers(settings: PlainSettings, { serving, slots }: Before): Promise<boolean> {
  if (isDevelopment(settings) || serving === undefined) return false;
  return lookAtHost(settings.name, settings.host).then(
    ({ router, states }) =>
      differences(wantedOf(settings), undefined, { router, states, held: {}, had: slots }).some(
        ({ kind, repair }) => kind === "missing" && repair === "make",
      ),
    // A host that does not answer is the run's own error.
    () => false,
  );
}

/**
 * Runs `pulumi up` (or the preview) for what the file says, shows how far it is, and says how it ended.
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
  const { file, pulumi, before, output, dryRun, skipMigrations, force, again } = deployment;
  const settings = file.settings();
  const migrations = dryRun ? await migrationsOf(settings, before, pulumi) : undefined;
  const wanted = {
    activeSlot: settings.activeSlot,
    slots: plainSettings(settings.slots),
    rollout: settings.rollout,
    standby: settings.standby,
    skipMigrations: skipMigrations || settings.skipMigrations,
    force,
    migrations,
  };
  const examined = dryRun ? examine({ file, settings, pulumi }, project) : undefined;
  const plan = isDevelopment(settings)
    ? ["one server runs the working tree, and is built again at every change"]
    : planSentences({ ...before, served: await servedBefore(settings) }, wanted);
  output.say(`${dryRun ? "Dry run" : "Deploying"} ${file.stack}: ${plan.join("; ")}`);
  if (!wanted.skipMigrations) for (const migration of migrations ?? []) output.say(`  ${migration}`);
  const flags = [...(force ? ["--force"] : []), ...(skipMigrations ? ["--skip-migrations"] : [])];
  if (force)
    output.warn(
      "--force: a lock that somebody else holds does not stop this run, nor does a change to the slot that serves, which interrupts traffic.",
    );
  if (skipMigrations)
    output.warn(
      "--skip-migrations: no snapshot is taken and no migration runs. The next deployment without it makes up for both.",
    );

  const redactor = createRedactor(process.env);
  const tracker = new PhaseTracker();
  const progress = new Progress(tracker.phases, output.stream);
  interrupts.onFirst = (signal) => {
    progress.say(`${signal}: stopping after what is being done now. Please wait.`);
    tracker.interrupt();
  };
  interrupts.onMore = () => {
    progress.say("Still stopping: a second signal would leave resources half-made. Please wait.");
  };
  const started = Date.now();
  const refresh = await hasLostContainers(settings, before);
  if (refresh)
    output.say("A container was removed by hand: Pulumi looks at all that there is first, and makes it again.");
  const runPulumi = (configFile?: string): Promise<RunEnd> =>
    pulumi.run(dryRun ? "preview" : "up", {
      configFile,
      signal: interrupts.signal,
      lock: deployment.within?.lock,
      refresh,
      onEvent: (event) => {
        const phase = tracker.add(event);
        if (phase && !dryRun) progress.changed(phase);
      },
    });
  const attempt = (): Promise<RunEnd> => {
    if (!dryRun && flags.length === 0 && again === undefined) return runPulumi();
    const once = file.copy();
    if (force) once.override("force", true);
    if (skipMigrations) once.override("skipMigrations", true);
    if (again !== undefined) once.override("releaseAgain", again);
    return once.withCopy(runPulumi);
  };
  let end: RunEnd;
  try {
    end = await attempt();
    if (!end.ok && !dryRun && isLocked(end.said)) {
      const locks = locksIn(end.said);
      if (await areStale(locks, settings, deployment.within?.lock !== undefined)) {
        await pulumi.unlock(locks);
        tracker.diagnostics.warnings.push(
          `Removed Pulumi's lock of ${locks.map(describeLock).join(", ")}: that process is gone, and nobody deploys on the Docker host.`,
        );
        end = await attempt();
      }
    }
    const saidTooLong = [end.said, ...tracker.diagnostics.errors, ...(tracker.failed?.errors ?? [])].some(saysTooLong);
    const shortened = !end.ok && !dryRun && saidTooLong ? await pulumi.shortenOutput() : [];
    if (shortened.length > 0) {
      progress.say(
        `Pulumi's state held more output of ${shortened.join(", ")} than a program can be started with. It is taken out; the deployments' logs have it. Once more:`,
      );
      tracker.retry();
      end = await attempt();
    }
    if (end.ok && !dryRun && tracker.clearedPending()) await pulumi.clearPending();
  } finally {
    tracker.finish();
    if (!dryRun) progress.end();
    else progress.cancel();
  }

  const findings = (await examined) ?? [];
  const badly = findings.filter(({ status }) => status !== "ok");
  if (findings.length > 0)
    output.say(`Checks: ${countFindings(findings)}${badly.length === 0 ? "" : `\n${findingsText(badly)}`}`);
  const foreseen = end.ok && badly.some(({ status }) => status === "fail");
  const runEnding = foreseen ? "config" : endingOf(end, tracker);
  const { failed, diagnostics } = tracker;
  const errors = [
    errorText(failed?.errors ?? []),
    errorText(diagnostics.errors),
    failed || diagnostics.errors.length > 0
      ? ""
      : isLocked(end.said)
        ? heldText(locksIn(end.said), invocation(`unlock --force --stack ${file.stack}`))
        : errorText([explainPassphrase(end.said)]),
  ]
    .filter((text) => text !== "" && !end.ok)
    .map((text) => redactor.text(text));
  const warnings = [...new Set(diagnostics.warnings)].map((warning) => redactor.text(warning));
  warnings.forEach((warning) => {
    output.warn(warning);
  });
  if (!end.ok && !dryRun && runEnding !== "interrupted" && failed !== undefined && tracker.deploymentId !== undefined)
    await noteFailed(settings, tracker.deploymentId, failed, errors[0] ?? "failed");
  const outputs: StackOutputs | undefined = end.ok && !dryRun ? await pulumi.outputs() : undefined;
  const ran = (wanted: string): boolean => tracker.phases.some(({ phase }) => phase === wanted);
  // A switch has asked the router itself.
  const report =
    outputs === undefined || isDevelopment(settings) || (ran("switch") && ran("record"))
      ? undefined
      : await look(settings);
  const unlike =
    report === undefined || ran("switch") ? undefined : unlikeRouter(report, settings.activeSlot, settings.name);
  if (unlike !== undefined) errors.push(unlike);
  // Pulumi has no reason to record again what it has recorded.
  if (outputs !== undefined && report !== undefined && !ran("record")) {
    const request = isStateLost(report) ? recordOf(settings, report, outputs) : undefined;
    if (request !== undefined) {
      await rebuildState(request, settings.host);
      output.warn(
        `${settings.stateLocation}/deployment-state.json was lost, or could not be written; it is written again from what runs.`,
      );
    }
  }
  // Where traffic was sent back to is known for sure, and by nobody better than the router.
  const now =
    end.ok || dryRun
      ? { sentence: "", serving: outputs?.serving ?? before.serving }
      : await servingNow(settings, before);
  const ending = unlike === undefined ? runEnding : "other";
  const putRight = ending === "rolledBack" && now.serving !== undefined && now.serving.slot !== settings.activeSlot;
  if (putRight && now.serving !== undefined) {
    file.setActiveSlot(now.serving.slot);
    file.save();
  }
  const result: DeploymentResult = {
    ok: end.ok && !foreseen && unlike === undefined,
    ending,
    exitCode: exitCodes[ending].code,
    dryRun,
    plan,
    ...(dryRun ? { migrations: migrations ?? null, checks: findings } : {}),
    // A run that had nothing to do belongs to the deployment before it.
    deploymentId: dryRun ? undefined : (tracker.deploymentId ?? outputs?.deploymentId),
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
    warnings,
  };
  output.result(result, () => {
    if (unlike !== undefined) return ["", `FAILED: ${unlike}.`, ...stillOff(file.stack)].join("\n");
    if (end.ok)
      return dryRun
        ? previewText(result, tracker)
        : isDevelopment(settings)
          ? developmentSuccess(result, settings.name, started)
          : successText(result, outputs, started);
    const headline =
      ending === "interrupted"
        ? `INTERRUPTED after ${seconds(Date.now() - started)}.`
        : failed
          ? `FAILED: ${failed.phase}${failed.subject === "" ? "" : ` ${failed.subject}`}, after ${seconds(Date.now() - started)}.`
          : "FAILED.";
    if (dryRun) return [headline, ...errors].join("\n");
    return [
      "",
      headline,
      ...errors,
      "",
      now.sentence,
      ...(putRight
        ? afterRollback(file, settings.activeSlot, now.serving?.slot, tracker.deploymentId)
        : wayOut(deployment, settings, ending, tracker.deploymentId)),
    ].join("\n");
  });
  if (output.json && (!end.ok || unlike !== undefined)) process.stderr.write(`${errors.join("\n")}\n${now.sentence}\n`);
  return exitCodes[ending].code;
}

function successText(
  { serving, url, deploymentId, phases }: DeploymentResult,
  outputs: StackOutputs | undefined,
  started: number,
): string {
  const release = serving && "release" in serving ? describeRelease(serving.release) : "";
  const did = phases.length === 0 ? "Nothing to do: " : "";
  return `${did}${serving?.slot ?? "no slot"} serves ${release} at ${url ?? "?"} (deployment ${deploymentId ?? outputs?.deploymentId ?? "?"}, ${seconds(Date.now() - started)})`;
}

function developmentSuccess({ url, phases }: DeploymentResult, name: string, started: number): string {
  return `${phases.length === 0 ? "Nothing to do: the" : "The"} working tree is served at ${url ?? "?"} (${seconds(Date.now() - started)}); docker logs -f ${containerName(name, "dev")} shows every build`;
}

/** What Pulumi would touch, phase by phase. */
function previewText({ changes, interruptions }: DeploymentResult, tracker: PhaseTracker): string {
  const touched = tracker.phases.map(({ phase, subject }) => `${phase}${subject === "" ? "" : ` ${subject}`}`);
  const counts = Object.entries(changes)
    .filter(([operation, count]) => !["same", "read"].includes(operation) && (count ?? 0) > 0)
    .map(([operation, count]) => `${count ?? 0} to ${operation}`);
  if (counts.length === 0) return "Nothing to do: all is as the file says.";
  const interrupted = interruptions.map(
    (what) =>
      `INTERRUPTS: the ${what}'s container is replaced (${what === "router" ? "its image or ports change" : "its image, port or maxConnections changes"}). Requests fail until the new one answers, some seconds later.\n`,
  );
  return `${interrupted.join("")}Would run: ${touched.join(", ")}\nPulumi: ${counts.join(", ")}, ${changes["same"] ?? 0} unchanged. Nothing was changed.`;
}
