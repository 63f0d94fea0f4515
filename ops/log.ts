/** The deployment's log (JSON lines) and what is seen on stderr (short lines): the same events, both redacted. */
import { closeSync, fchmodSync, fchownSync, fsyncSync, openSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { pino } from "pino";
import type { LogFields, StepLog } from "./context.ts";
import type { Redactor } from "./redact.ts";

const levels = { debug: 20, info: 30, success: 35, warn: 40, error: 50 };
type Level = keyof typeof levels;

export interface LogOptions {
  redactor: Redactor;
  /** Writes a short line for people. */
  show: (line: string) => void;
  /** Show DEBUG lines too. */
  verbose: boolean;
  /** JSON lines go here as well. */
  file?: { path: string; deploymentId: string; phase: string };
}

function shortLine(level: Level, message: string, fields: LogFields | undefined): string {
  const time = new Date().toISOString().slice(11, 19);
  // A hint is a line of its own, ready to be copied.
  const { hint, ...rest } = fields ?? {};
  const extra = Object.entries(rest)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  const line = `${time} ${level.toUpperCase().padEnd(7)} ${message}${extra.length === 0 ? "" : ` (${extra.join(", ")})`}`;
  return typeof hint === "string" ? `${line}\n${" ".repeat(17)}→ ${hint}` : line;
}

function openLogFile(path: string): number {
  // "a": every line is one write at the end, so that steps which run side by side share a file.
  const descriptor = openSync(path, "a", 0o644);
  const { uid, gid } = statSync(dirname(path));
  try {
    fchownSync(descriptor, uid, gid);
    fchmodSync(descriptor, 0o644);
  } catch {
    // Not root, or somebody else's file: it is written all the same.
  }
  return descriptor;
}

/** A step's log, and its end: `close` returns when all lines are on disk. */
export function createLog(options: LogOptions): StepLog & { close(): void } {
  const { redactor, show, verbose, file } = options;
  const descriptor = file === undefined ? undefined : openLogFile(file.path);
  const logger =
    file === undefined
      ? undefined
      : pino(
          {
            level: "debug",
            customLevels: levels,
            useOnlyCustomLevels: true,
            messageKey: "message",
            base: { deployment_id: file.deploymentId, phase: file.phase },
            timestamp: () => `,"time":"${new Date().toISOString()}"`,
            formatters: { level: (label) => ({ level: label.toUpperCase() }) },
          },
          // Synchronous and without worker threads: it works in one bundled file, and a killed step loses no line.
          pino.destination({ fd: descriptor, sync: true }),
        );
  const line =
    (level: Level) =>
    (message: string, fields?: LogFields): void => {
      const safeMessage = redactor.text(message);
      const safeFields = fields === undefined ? undefined : (redactor.value(fields) as LogFields);
      logger?.[level](safeFields ?? {}, safeMessage);
      if (level !== "debug" || verbose) show(shortLine(level, safeMessage, safeFields));
    };
  return {
    debug: line("debug"),
    info: line("info"),
    warn: line("warn"),
    error: line("error"),
    success: line("success"),
    close: () => {
      if (descriptor === undefined) return;
      fsyncSync(descriptor);
      closeSync(descriptor);
    },
  };
}
