/** The deployment's log: JSON lines, appended by all steps of a deployment. In the container only. */
import { closeSync, fchmodSync, fchownSync, fsyncSync, mkdirSync, openSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { pino } from "pino";
import type { Level, LogSink } from "../../contract/log.ts";

const levels: Record<Level, number> = { debug: 20, info: 30, success: 35, warn: 40, error: 50 };

function openForAppending(path: string): number {
  mkdirSync(dirname(path), { recursive: true });
  // Each line is one write at the end of the file, so that steps which run side by side can share it.
  const descriptor = openSync(path, "a", 0o644);
  const { uid, gid } = statSync(dirname(path));
  try {
    fchownSync(descriptor, uid, gid);
    fchmodSync(descriptor, 0o644);
  } catch {
    // Not root, or another user's file: it is written all the same.
  }
  return descriptor;
}

/** Opens a deployment's log file for one step. */
export function openLogFile(path: string, deploymentId: string, phase: string): LogSink {
  const descriptor = openForAppending(path);
  const logger = pino(
    {
      level: "debug",
      customLevels: levels,
      useOnlyCustomLevels: true,
      messageKey: "message",
      base: { deployment_id: deploymentId, phase },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label.toUpperCase() }) },
    },
    // Synchronous and without worker threads: that works in one bundled file, and a killed step loses no line.
    pino.destination({ fd: descriptor, sync: true }),
  );
  return {
    write: (level, message, fields) => {
      logger[level](fields, message);
    },
    close: () => {
      fsyncSync(descriptor);
      closeSync(descriptor);
    },
  };
}
