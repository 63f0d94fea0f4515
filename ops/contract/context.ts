/** Extra facts of a log line, beside its message. */
export type LogFields = Readonly<Record<string, unknown>>;
type LogLine = (message: string, fields?: LogFields) => void;

/** Where a step tells what it does: JSON lines in the deployment's log, short lines on stderr. Secrets are redacted in both. */
export interface StepLog {
  debug: LogLine;
  info: LogLine;
  warn: LogLine;
  error: LogLine;
  success: LogLine;
}

/** What every step is given, those in the container and those of the client alike. */
export interface StepContext {
  log: StepLog;
  /** Aborted when the step is to stop: SIGINT, SIGTERM, or a client that is gone. */
  signal: AbortSignal;
  env: NodeJS.ProcessEnv;
  /** What the client sends along: the migrations' tar. Empty for the other steps. */
  payload: () => Promise<Buffer>;
  /** Where the host's directories and volumes are mounted. Steps of the client have no use for them. */
  paths: { state: string; logs: string; backups: string; router: string };
}

/** What a step in the container is given. */
export interface CommandContext extends StepContext {
  /** For `begin` and `record`, which decide themselves whose log they write. */
  openLog: (deploymentId: string) => StepLog & { close(): void };
  /** Asks the client for what takes a Docker client. @throws when it is gone. */
  ask: (question: unknown) => Promise<unknown>;
}

/** The mounts of the ops container. */
export const containerPaths: StepContext["paths"] = {
  state: "/state",
  logs: "/logs",
  backups: "/backups",
  router: "/router",
};
