export const environmentNames = ["production", "staging", "development"] as const;
export type EnvironmentName = (typeof environmentNames)[number];

/** The effect of a broken rule: an error before anything changes, a warning, or none. */
export type Severity = "error" | "warn" | "off";

/** The rules in which the environments differ. The table in docs/settings.md is tested against this one. */
export interface EnvironmentRules {
  /** Two slots behind a router; otherwise one server that is built from the working tree. */
  blueGreen: boolean;
  /** The default of `togather:listenAddress`. */
  listenAddress: "0.0.0.0" | "127.0.0.1";
  /** `togather:tls` must be set. */
  https: Severity;
  /** Each release must be a git commit (or an image digest), not a source tree without history. */
  committedSource: Severity;
  /** Secrets must not be placeholders, short or easy to guess. */
  strongSecrets: Severity;
  /** No secret may be that of another environment, as far as this checkout knows, or used twice. */
  uniqueSecrets: Severity;
  /** An external database is reached with sslmode=require, verify-ca or verify-full. */
  databaseTls: Severity;
  /** The server's role in the database is no SUPERUSER. The bundled database's never is. */
  unprivilegedRole: Severity;
  /** Migrations that a release applies are safe beside the release that serves: ops/lint/rules.ts. Its warnings never stop anything. */
  migrationLint: Severity;
  /** The database's volume can't be deleted by Pulumi. */
  protectData: boolean;
  /** The meaning of `database.snapshot_verify: auto`. */
  snapshotVerify: "required" | "when-possible" | "never";
  /** The meaning of `database.migration_rehearsal: auto`. */
  migrationRehearsal: "required" | "when-possible" | "never";
  /** The meaning of `database.serving_release_check: auto`: the release that serves must work on the migrated copy. */
  servingReleaseCheck: Severity;
  /** The meaning of `deployment.post_switch_checks: auto`: the health endpoint is asked through the router after a switch. */
  postSwitchChecks: boolean;
  /** The router sends plain HTTP to HTTPS, where there is a certificate. */
  redirectToHttps: boolean;
  /** The server's LOG_LEVEL. */
  logLevel: "DEBUG" | "INFO";
}

export const environmentRules: Record<EnvironmentName, EnvironmentRules> = {
  production: {
    blueGreen: true,
    listenAddress: "0.0.0.0",
    https: "error",
    committedSource: "error",
    strongSecrets: "error",
    uniqueSecrets: "error",
    databaseTls: "error",
    unprivilegedRole: "error",
    migrationLint: "error",
    protectData: true,
    snapshotVerify: "required",
    migrationRehearsal: "required",
    servingReleaseCheck: "error",
    postSwitchChecks: true,
    redirectToHttps: true,
    logLevel: "INFO",
  },
  staging: {
    blueGreen: true,
    listenAddress: "0.0.0.0",
    https: "warn",
    committedSource: "warn",
    strongSecrets: "error",
    uniqueSecrets: "warn",
    databaseTls: "warn",
    unprivilegedRole: "error",
    migrationLint: "warn",
    protectData: false,
    snapshotVerify: "when-possible",
    migrationRehearsal: "when-possible",
    servingReleaseCheck: "warn",
    postSwitchChecks: true,
    redirectToHttps: false,
    logLevel: "INFO",
  },
  development: {
    blueGreen: false,
    listenAddress: "127.0.0.1",
    https: "off",
    committedSource: "off",
    strongSecrets: "warn",
    uniqueSecrets: "warn",
    databaseTls: "off",
    unprivilegedRole: "warn",
    migrationLint: "warn",
    protectData: false,
    snapshotVerify: "never",
    migrationRehearsal: "never",
    servingReleaseCheck: "off",
    postSwitchChecks: false,
    redirectToHttps: false,
    logLevel: "DEBUG",
  },
};
