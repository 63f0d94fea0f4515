import { clearScreenDown, moveCursor } from "node:readline";
import { stripVTControlCharacters, styleText } from "node:util";
import { seconds } from "../../ops/contract/units.ts";
import { phaseTitle as title, type PhaseRun } from "./phases.ts";

/** Interval of messages about a long phase in a log without a terminal, in ms. */
const heartbeatMs = 30_000;
const redrawMs = 200;
const frames = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

const marks = { succeeded: "✔", failed: "✖", interrupted: "■" } as const;
const words = { succeeded: "ok", failed: "FAILED", interrupted: "INTERRUPTED" } as const;

/** The line of a phase that has ended. */
export function phaseLine(phase: PhaseRun, live: boolean): string {
  const { status, startedAt, endedAt, detail } = phase;
  const outcome = status === "running" ? "succeeded" : status;
  const time = seconds((endedAt ?? startedAt) - startedAt);
  if (!live)
    return `${title(phase).padEnd(18)} ${words[outcome].padEnd(11)} ${time.padStart(8)}${detail === "" ? "" : `  ${detail}`}`;
  const mark = styleText(outcome === "succeeded" ? "green" : "red", marks[outcome]);
  return `${mark} ${title(phase).padEnd(18)} ${time.padStart(8)}${detail === "" ? "" : styleText("dim", `  ${detail}`)}`;
}

/**
 * Phases of many resources, with pauses in between: their line is printed when another phase goes on, or at the end.
 */
const isComposite = ({ phase }: PhaseRun): boolean => ["network", "database", "router"].includes(phase);

/**
 * Shows a run: one line for each phase, with its time and at once its warnings. Live on a terminal; elsewhere a line at
 * the end of each phase.
 */
export class Progress {
  readonly #stream: NodeJS.WriteStream;
  readonly #live: boolean;
  readonly #phases: readonly PhaseRun[];
  readonly #printed = new Set<PhaseRun>();
  /** Number of printed characters of each warning: a warning may still grow, line by line. */
  readonly #warned = new Map<PhaseRun, number[]>();
  readonly #redact: (text: string) => string;
  readonly #timer: NodeJS.Timeout;
  #drawn = 0;
  #frame = 0;
  #lastLine = Date.now();

  /**
   * @param phases the tracker's phases, which grow and change.
   * @param redact removes secrets from the output of steps.
   */
  constructor(phases: readonly PhaseRun[], stream: NodeJS.WriteStream, redact: (text: string) => string) {
    this.#phases = phases;
    this.#redact = redact;
    this.#stream = stream;
    this.#live = stream.isTTY;
    this.#timer = setInterval(() => {
      this.#tick();
    }, redrawMs).unref();
  }

  /** Shows a change of a phase. */
  changed(phase: PhaseRun): void {
    this.#warn(phase);
    if (phase.active === 0 && !isComposite(phase)) this.#print(phase);
    if (phase.active > 0 && phase.status === "running")
      for (const other of this.#phases)
        if (isComposite(other) && other !== phase && other.active === 0) this.#print(other);
    if (this.#live) this.#draw();
  }

  /** Prints a line between the phases. */
  say(line: string): void {
    this.#write(line);
    if (this.#live) this.#draw();
  }

  /** Prints the rest, and stops. */
  end(): void {
    clearInterval(this.#timer);
    for (const phase of this.#phases) this.#print(phase);
    this.#erase();
  }

  /** Stops without printing. */
  cancel(): void {
    clearInterval(this.#timer);
    this.#erase();
  }

  #tick(): void {
    if (this.#live) {
      this.#frame += 1;
      this.#draw();
      return;
    }
    const running = this.#phases.filter(({ active }) => active > 0);
    if (running.length === 0 || Date.now() - this.#lastLine < heartbeatMs) return;
    this.#write(
      `  ... ${running.map((phase) => `${title(phase)} (${seconds(Date.now() - phase.startedAt)})`).join(", ")}`,
    );
  }

  #warn(phase: PhaseRun): void {
    const printed = this.#warned.get(phase) ?? [];
    phase.warnings.forEach((warning, index) => {
      const from = printed[index] ?? 0;
      if (warning.length > from) {
        const text = this.#redact(warning.slice(from === 0 ? 0 : from + 1));
        const line = from === 0 ? `WARNING: ${text}` : text;
        this.#write(this.#live ? styleText("yellow", line) : line);
      }
      printed[index] = warning.length;
    });
    this.#warned.set(phase, printed);
  }

  #print(phase: PhaseRun): void {
    if (this.#printed.has(phase)) return;
    this.#printed.add(phase);
    this.#write(phaseLine(phase, this.#live));
  }

  #write(line: string): void {
    this.#erase();
    this.#lastLine = Date.now();
    this.#stream.write(`${line}\n`);
  }

  #erase(): void {
    if (this.#drawn === 0) return;
    moveCursor(this.#stream, 0, -this.#drawn);
    clearScreenDown(this.#stream);
    this.#drawn = 0;
  }

  #draw(): void {
    const width = this.#stream.columns;
    const lines = this.#phases
      .filter((phase) => phase.active > 0 && !this.#printed.has(phase))
      .map((phase) => {
        const start = `${styleText("cyan", frames[this.#frame % frames.length] ?? "")} ${title(phase).padEnd(18)} ${seconds(Date.now() - phase.startedAt).padStart(8)}`;
        // A wrapped line could not be erased.
        const room = width - stripVTControlCharacters(start).length - 3;
        return `${start}  ${styleText("dim", phase.doing.slice(0, Math.max(0, room)))}`;
      });
    this.#erase();
    if (lines.length > 0) this.#stream.write(`${lines.join("\n")}\n`);
    this.#drawn = lines.length;
  }
}
