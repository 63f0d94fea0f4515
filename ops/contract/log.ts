/** A step's log output: short lines for people, and the same events for the log file, both redacted. */
import type { LogFields, StepLog } from "./context.ts";
import { messageOf } from "./errors.ts";
import type { Redactor } from "./redact.ts";

export type Level = keyof StepLog;
/** Receives every event as well: the deployment's log file. */
export interface LogSink {
  write: (level: Level, message: string, fields: LogFields) => void;
  /** Returns when all lines are on disk. */
  close: () => void;
}

export interface LogOptions {
  redactor: Redactor;
  /** Writes a short line. */
  show: (line: string) => void;
  /** Show DEBUG lines too. */
  verbose: boolean;
  sink?: LogSink;
}

function shortLine(level: Level, message: string, fields: LogFields): string {
  const time = new Date().toISOString().slice(11, 19);
  // A hint is a line of its own, ready to be copied.
  const { hint, ...rest } = fields;
  const extra = Object.entries(rest)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  const line = `${time} ${level.toUpperCase().padEnd(7)} ${message}${extra.length === 0 ? "" : ` (${extra.join(", ")})`}`;
  return typeof hint === "string" ? `${line}\n${" ".repeat(17)}→ ${hint}` : line;
}

/** A step's log. */
export function createLog(options: LogOptions): StepLog & { close(): void } {
  const { redactor, show, verbose } = options;
  let { sink } = options;
  /** A log that can't be written, on a full disk, must not stop anything. */
  const lose = (error: unknown): void => {
    sink = undefined;
    show(shortLine("warn", `the log file can't be written any more: ${messageOf(error)}`, {}));
  };
  const line =
    (level: Level) =>
    (message: string, fields: LogFields = {}): void => {
      const safeMessage = redactor.text(message);
      const safeFields = redactor.value(fields) as LogFields;
      try {
        sink?.write(level, safeMessage, safeFields);
      } catch (error) {
        lose(error);
      }
      if (level !== "debug" || verbose) show(shortLine(level, safeMessage, safeFields));
    };
  return {
    debug: line("debug"),
    info: line("info"),
    warn: line("warn"),
    error: line("error"),
    success: line("success"),
    close: () => {
      try {
        sink?.close();
      } catch (error) {
        lose(error);
      }
    },
  };
}
