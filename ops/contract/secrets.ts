/**
 * Environment variables that carry secrets into a step. No log contains their values. SERVER_SECRETS is a JSON list of
 * all secrets of a server: the gate shows the server's messages, which may contain anything.
 */
export const SECRET_VARIABLES = [
  "DATABASE_URL",
  "MIGRATION_DATABASE_URL",
  "DATABASE_ADMIN_URL",
  "JWT_SECRET",
  "ADMIN_API_KEY",
  "SERVER_SECRETS",
  "PGPASSWORD",
  "SNAPSHOT_IDENTITY",
  "SNAPSHOT_COPY_KEY_ID",
  "SNAPSHOT_COPY_SECRET",
  "TLS_CERTIFICATE",
  "TLS_KEY",
] as const;

/**
 * A server's whole environment as a JSON object, for a rehearsal that runs tasks before the server's own container
 * exists. For the step's client alone.
 */
export const SERVER_ENVIRONMENT = "SERVER_ENVIRONMENT";
