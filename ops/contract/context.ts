/** Extra facts of a log line, beside its message. */
export type LogFields = Readonly<Record<string, unknown>>;
type LogLine = (message: string, fields?: LogFields) => void;

/** A step's log: JSON lines in the deployment's log, short lines on stderr. Secrets are redacted in both. */
export interface StepLog {
  debug: LogLine;
  info: LogLine;
  warn: LogLine;
  error: LogLine;
  success: LogLine;
}

/** The context of every step, in the container or on the client. */
export interface StepContext {
  log: StepLog;
  /** Aborted when the step must stop: SIGINT, SIGTERM, or a client that is gone. */
  signal: AbortSignal;
  env: NodeJS.ProcessEnv;
  /** Data from the client: the migrations' tar. Empty for the other steps. */
  payload: () => Promise<Buffer>;
  /** Mount points of the host's directories and volumes. Steps of the client don't use them. */
  paths: { state: string; logs: string; backups: string; router: string };
}

/** The context of a step in the container. */
export interface CommandContext extends StepContext {
  /** Opens a log for `begin` and `record`, which choose the deployment id themselves. */
  openLog: (deploymentId: string) => StepLog & { close(): void };
  /**
   * Asks the client for work that needs a Docker client.
   * @throws when it is gone.
   */
  ask: (question: unknown) => Promise<unknown>;
}

/** The mounts of the ops container. */
export const containerPaths: StepContext["paths"] = {
  state: "/state",
  logs: "/logs",
  backups: "/backups",
  router: "/router",
};
