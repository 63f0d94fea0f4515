import { stripVTControlCharacters } from "node:util";
import type { EngineEvent } from "@pulumi/pulumi/automation/index.js";
import { contract, isStep, type StepName } from "../../ops/contract/steps.ts";
import type { Ending } from "../exit-codes.ts";

/** A phase of a deployment: a step, by its name, or a resource that Pulumi itself creates. */
export type PhaseName = StepName | "network" | "pull" | "container";

/** The ending of a run when one of its phases fails. */
export function endingOfPhase(phase: PhaseName): Ending {
  if (phase === "pull") return "build";
  return (isStep(phase) ? contract[phase].ending : undefined) ?? "other";
}

/** The step that a component's command runs, by the last part of the component's type token. */
const steps: Readonly<Record<string, StepName>> = Object.fromEntries(
  Object.entries(contract).flatMap(([step, { resource }]) =>
    (resource?.components ?? []).map((component) => [component, step as StepName]),
  ),
);

/** The phase of a component's other resources. */
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

/** The phase of a resource. Undefined: it is no work by itself, such as components and providers. */
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

/** The beginning of a log line of a step (ops/contract/log.ts). A line without it continues the line before. */
export const stepLine = /^\d\d:\d\d:\d\d ([A-Z]+) +/;
/** A step's replacement for lines that it leaves out (ops/client/shown.ts). */
const leftOut = /^… \d+ lines are not shown/;

/** Engine operations that do something. */
const isWork = (op: string): boolean => !["same", "read", "refresh", "discard", "remove-pending-replace"].includes(op);

/** One phase of a run, in its current state. */
export interface PhaseRun extends PhaseOfResource {
  startedAt: number;
  endedAt: number | undefined;
  status: "running" | "succeeded" | "failed" | "interrupted";
  /** The result in a few words. */
  detail: string;
  /** The last line of the step's output while it runs. */
  doing: string;
  /** The step's error messages. */
  errors: string[];
  /** The step's warnings, each once, with their further lines. */
  warnings: string[];
  /** Number of resources that are in work. */
  active: number;
}

/** Errors that belong to no phase: of the program, of Pulumi itself. */
export interface RunDiagnostics {
  errors: string[];
  warnings: string[];
}

/** The message without Pulumi's colours. */
export function plain(message: string): string {
  return stripVTControlCharacters(message.replace(/<\{%[^%]*%\}>/g, "")).trimEnd();
}

/** The fields of a result: a step prints it as one line of JSON. */
function stepResult(outputs: unknown): Record<string, unknown> {
  const text = (outputs as { stdout?: unknown } | undefined)?.stdout;
  if (typeof text !== "string") return {};
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return {};
  }
}

/** The result of a phase in a few words. */
export function describeResult(phase: PhaseName, outputs: unknown): string {
  if (!isStep(phase)) return "";
  const says = contract[phase].says;
  return says?.(stepResult(outputs)) ?? "";
}

/** The SDK's type lacks a severity that the engine has. */
type Diagnostic = Omit<NonNullable<EngineEvent["diagnosticEvent"]>, "severity"> & {
  severity: "debug" | "info" | "info#err" | "warning" | "error";
};

/** Phases whose container both slots use. */
const interrupting = ["router", "database"] as const satisfies PhaseName[];
export type Interruption = (typeof interrupting)[number];

/** Follows a run of Pulumi through its engine events. */
export class PhaseTracker {
  readonly phases: PhaseRun[] = [];
  readonly diagnostics: RunDiagnostics = { errors: [], warnings: [] };
  /** The id of the deployment that this run began. */
  deploymentId: string | undefined;
  #interrupted = false;
  readonly #now: () => number;
  readonly #byKey = new Map<string, PhaseRun>();
  readonly #replaced = new Set<PhaseName>();
  /** Phases whose last line was a warning, or continued one. */
  readonly #warning = new Set<PhaseRun>();

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /**
   * Handles an event.
   * @returns the phase that it changed.
   */
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

  /** Replaced parts that exist only once: their replacement interrupts the service. */
  get interruptions(): readonly Interruption[] {
    return interrupting.filter((phase) => this.#replaced.has(phase));
  }

  /** Warnings of all steps, including failed ones. */
  get stepWarnings(): string[] {
    return this.phases.flatMap(({ warnings }) => warnings);
  }

  /** The first phase that failed. */
  get failed(): PhaseRun | undefined {
    return this.phases.find(({ status }) => status === "failed");
  }

  /** Tells the tracker that steps fail from now on because they were stopped. */
  interrupt(): void {
    this.#interrupted = true;
  }

  /** Forgets the failed phases, which are about to run again. */
  retry(): void {
    for (const phase of this.phases.filter(({ status }) => status === "failed")) {
      this.phases.splice(this.phases.indexOf(phase), 1);
      this.#byKey.delete(`${phase.phase} ${phase.subject}`);
    }
    this.diagnostics.errors = [];
  }

  /**
   * Whether Pulumi has warned of pending operations that a killed run has left. A successful run has completed them:
   * the warning is dropped.
   */
  clearedPending(): boolean {
    const { warnings } = this.diagnostics;
    const left = warnings.filter((warning) => !warning.includes("pending operations from previous deployment"));
    this.diagnostics.warnings = left;
    return left.length < warnings.length;
  }

  /** Marks the end of Pulumi: phases that still run were interrupted. */
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
    // A step that failed at once has no start event.
    const phase = this.#find(urn) ?? this.#start(urn);
    if (phase === undefined) return undefined;
    phase.active = Math.max(0, phase.active - 1);
    // A failed phase's outputs, if any, are from the run before.
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
      // An optional output of the program without a value: not worth a message. A replaced router is seen by this
      // tracker itself.
      if (!/^INTERRUPTS: |^Undefined value \(\w+\) will not show as a stack output/.test(text))
        this.diagnostics.warnings.push(text);
    } else if (phase && severity !== "debug") {
      phase.doing = text.split("\n").at(-1)?.trim() ?? "";
      for (const line of text.split("\n")) this.#keepWarning(phase, line);
      return phase;
    }
    return undefined;
  }

  /** A warning arrives line by line: its hint and quoted text are separate lines. */
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
