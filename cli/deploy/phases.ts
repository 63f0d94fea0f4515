import { stripVTControlCharacters } from "node:util";
import type { EngineEvent } from "@pulumi/pulumi/automation/index.js";
import { contract, isStep, type StepName } from "../../ops/contract/steps.ts";
import type { Ending } from "../exit-codes.ts";

/** What a deployment consists of: its steps, by their names, and what Pulumi makes by itself. */
export type PhaseName = StepName | "network" | "pull" | "container";

/** How a run ends when one of its phases fails. */
export function endingOfPhase(phase: PhaseName): Ending {
  if (phase === "pull") return "build";
  return (isStep(phase) ? contract[phase].ending : undefined) ?? "other";
}

/** The step whose command belongs to a component, by the last part of the component's type token. */
const steps: Readonly<Record<string, StepName>> = Object.fromEntries(
  Object.entries(contract).flatMap(([step, { resource }]) =>
    (resource?.components ?? []).map((component) => [component, step as StepName]),
  ),
);

/** What a component's other resources are part of. */
const parts: Readonly<Record<string, PhaseName>> = {
  ServerImage: "pull",
  Network: "network",
  Database: "database",
  Router: "router",
  Slot: "container",
  DevelopmentServer: "container",
};

export interface PhaseOfResource {
  phase: PhaseName;
  /** The slot, or the image; empty where there is only one. */
  subject: string;
}

/** The phase that a resource is worked on in; undefined for what is no work by itself, such as components and providers. */
export function phaseOf(urn: string): PhaseOfResource | undefined {
  const [, , types = "", name = ""] = urn.split("::");
  const chain = types.split("$");
  const own = chain.at(-1) ?? "";
  const component = chain
    .findLast((type) => type.startsWith("togather:"))
    ?.split(":")
    .at(-1);
  if (component === undefined || own.startsWith("togather:") || own.startsWith("pulumi:")) return undefined;
  const phase = (own.startsWith("command:") ? steps : parts)[component];
  if (phase === undefined) return undefined;
  const subject =
    phase === "task"
      ? name.replace(/^task-/, "").replace(/-run$/, "")
      : (/^(blue|green)-/.exec(name)?.[1] ?? (phase === "build" ? (name.split("-")[0] ?? "") : ""));
  return { phase, subject };
}

/** `gate green`, or `switch`. */
export const phaseTitle = ({ phase, subject }: PhaseOfResource): string =>
  `${phase}${subject === "" ? "" : ` ${subject}`}`;

/** Begins a line of what a step shows (ops/contract/log.ts); what does not begin so belongs to the line before. */
const stepLine = /^\d\d:\d\d:\d\d ([A-Z]+) +/;
/** What a step shows in place of lines that it leaves out (ops/client/shown.ts). */
const leftOut = /^… \d+ lines are not shown/;

/** Engine operations that do something. */
const isWork = (op: string): boolean => !["same", "read", "refresh", "discard", "remove-pending-replace"].includes(op);

/** One phase of a run, as far as it has come. */
export interface PhaseRun extends PhaseOfResource {
  startedAt: number;
  endedAt: number | undefined;
  status: "running" | "succeeded" | "failed" | "interrupted";
  /** What came out, in a few words. */
  detail: string;
  /** The last line of what the step says while it runs. */
  doing: string;
  /** What went wrong, as the step said it. */
  errors: string[];
  /** What the step warned of, once each, with the lines that belong to it. */
  warnings: string[];
  /** Resources that are worked on at this moment. */
  active: number;
}

/** An error that belongs to no phase: of the program, of Pulumi itself. */
export interface RunDiagnostics {
  errors: string[];
  warnings: string[];
}

/** Without the colours that Pulumi puts into its messages. */
export function plain(message: string): string {
  return stripVTControlCharacters(message.replace(/<\{%[^%]*%\}>/g, "")).trimEnd();
}

/** A result's number, text, ... by key; a step prints its result as one line of JSON. */
function stepResult(outputs: unknown): Record<string, unknown> {
  const text = (outputs as { stdout?: unknown } | undefined)?.stdout;
  if (typeof text !== "string") return {};
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return {};
  }
}

/** What came out of a phase, in a few words. */
export function describeResult(phase: PhaseName, outputs: unknown): string {
  if (!isStep(phase)) return "";
  const says = contract[phase].says;
  return says?.(stepResult(outputs)) ?? "";
}

/** The SDK's type leaves out a severity that the engine has. */
type Diagnostic = Omit<NonNullable<EngineEvent["diagnosticEvent"]>, "severity"> & {
  severity: "debug" | "info" | "info#err" | "warning" | "error";
};

/** Phases whose container serves both slots. */
const interrupting = ["router", "database"] as const satisfies PhaseName[];
export type Interruption = (typeof interrupting)[number];

/** Follows a run of Pulumi by its engine events. */
export class PhaseTracker {
  readonly phases: PhaseRun[] = [];
  readonly diagnostics: RunDiagnostics = { errors: [], warnings: [] };
  /** Of the deployment that this run began. */
  deploymentId: string | undefined;
  #interrupted = false;
  readonly #now: () => number;
  readonly #byKey = new Map<string, PhaseRun>();
  readonly #replaced = new Set<PhaseName>();
  /** Phases whose last line was a warning, or goes on with one. */
  readonly #warning = new Set<PhaseRun>();

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** The phase that an event changed. */
  add(event: EngineEvent): PhaseRun | undefined {
    const { resourcePreEvent, resOutputsEvent, resOpFailedEvent, diagnosticEvent } = event;
    if (
      resourcePreEvent &&
      /replace/.test(resourcePreEvent.metadata.op) &&
      resourcePreEvent.metadata.urn.includes("docker:index/container:Container")
    ) {
      const phase = phaseOf(resourcePreEvent.metadata.urn)?.phase;
      if (phase !== undefined) this.#replaced.add(phase);
    }
    if (resourcePreEvent && isWork(resourcePreEvent.metadata.op)) return this.#start(resourcePreEvent.metadata.urn);
    if (resOutputsEvent && isWork(resOutputsEvent.metadata.op))
      return this.#end(resOutputsEvent.metadata.urn, "succeeded", resOutputsEvent.metadata.new?.outputs);
    if (resOpFailedEvent) return this.#end(resOpFailedEvent.metadata.urn, "failed", undefined);
    if (diagnosticEvent) return this.#diagnose(diagnosticEvent);
    return undefined;
  }

  /** What is replaced and can't be without an interruption: there is one of it. */
  get interruptions(): readonly Interruption[] {
    return interrupting.filter((phase) => this.#replaced.has(phase));
  }

  /** What steps warned of, the failed ones included. */
  get stepWarnings(): string[] {
    return this.phases.flatMap(({ warnings }) => warnings);
  }

  /** The first phase that failed. */
  get failed(): PhaseRun | undefined {
    return this.phases.find(({ status }) => status === "failed");
  }

  /** From now on a step that fails does so because it was told to stop. */
  interrupt(): void {
    this.#interrupted = true;
  }

  /** What failed is about to be done again: it is forgotten. */
  retry(): void {
    for (const phase of this.phases.filter(({ status }) => status === "failed")) {
      this.phases.splice(this.phases.indexOf(phase), 1);
      this.#byKey.delete(`${phase.phase} ${phase.subject}`);
    }
    this.diagnostics.errors = [];
  }

  /**
   * Whether Pulumi has warned of operations that a killed run has left pending. A run that ended well has made up for them,
   * so that the warning goes.
   */
  clearedPending(): boolean {
    const { warnings } = this.diagnostics;
    const left = warnings.filter((warning) => !warning.includes("pending operations from previous deployment"));
    this.diagnostics.warnings = left;
    return left.length < warnings.length;
  }

  /** Pulumi has ended: whatever still runs was left in the middle. */
  finish(): void {
    for (const phase of this.phases) {
      if (phase.status !== "running") continue;
      phase.status = "interrupted";
      phase.endedAt = this.#now();
    }
  }

  #find(urn: string): PhaseRun | undefined {
    const of = phaseOf(urn);
    return of && this.#byKey.get(`${of.phase} ${of.subject}`);
  }

  #start(urn: string): PhaseRun | undefined {
    const of = phaseOf(urn);
    if (of === undefined) return undefined;
    const known = this.#find(urn);
    if (known) {
      known.active += 1;
      if (known.status === "succeeded") [known.status, known.endedAt] = ["running", undefined];
      return known;
    }
    const made: PhaseRun = {
      ...of,
      startedAt: this.#now(),
      endedAt: undefined,
      status: "running",
      detail: "",
      doing: "",
      errors: [],
      warnings: [],
      active: 1,
    };
    this.phases.push(made);
    this.#byKey.set(`${of.phase} ${of.subject}`, made);
    return made;
  }

  #end(urn: string, status: "succeeded" | "failed", outputs: unknown): PhaseRun | undefined {
    // A step that failed at once has no event for its start.
    const phase = this.#find(urn) ?? this.#start(urn);
    if (phase === undefined) return undefined;
    phase.active = Math.max(0, phase.active - 1);
    // Beside a failure stands, if anything, what came out of the run before.
    const detail = status === "failed" ? "" : describeResult(phase.phase, outputs);
    if (detail !== "") phase.detail = detail;
    if (phase.phase === "begin" && detail !== "") this.deploymentId = detail;
    if (status === "failed") phase.status = this.#interrupted ? "interrupted" : "failed";
    else if (phase.active === 0 && phase.status === "running") phase.status = "succeeded";
    if (phase.active === 0) phase.endedAt = this.#now();
    return phase;
  }

  #diagnose({ urn, message, severity }: Diagnostic): PhaseRun | undefined {
    const text = plain(message);
    if (text.trim() === "") return undefined;
    const phase = urn === undefined ? undefined : this.#find(urn);
    if (severity === "error") {
      (phase?.errors ?? this.diagnostics.errors).push(text);
    } else if (severity === "warning") {
      // An optional output of the program that has no value: nothing to tell.
      // That the router is replaced, this tracker sees for itself.
      if (!/^INTERRUPTS: |^Undefined value \(\w+\) will not show as a stack output/.test(text))
        this.diagnostics.warnings.push(text);
    } else if (phase && severity !== "debug") {
      phase.doing = text.split("\n").at(-1)?.trim() ?? "";
      for (const line of text.split("\n")) this.#keepWarning(phase, line);
      return phase;
    }
    return undefined;
  }

  /** A warning comes line by line: its hint and what it quotes are lines of their own. */
  #keepWarning(phase: PhaseRun, line: string): void {
    const level = stepLine.exec(line);
    if (level === null) {
      if (this.#warning.has(phase) && !leftOut.test(line))
        phase.warnings.push(`${phase.warnings.pop() ?? ""}\n${line.replace(/^ {10,}→/, "  →")}`);
      return;
    }
    this.#warning.delete(phase);
    if (level[1] !== "WARN") return;
    const said = line.slice(level[0].length);
    const own = `${phase.phase}: `;
    const warning = `${phaseTitle(phase)}: ${said.startsWith(own) ? said.slice(own.length) : said}`;
    if (phase.warnings.some((known) => known.split("\n")[0] === warning)) return;
    phase.warnings.push(warning);
    this.#warning.add(phase);
  }
}
