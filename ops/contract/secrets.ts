/**
 * Environment variables that carry secrets into a step, by name; their values appear in no log. SERVER_SECRETS is a JSON list
 * of all that a server was given: the gate shows what a server says, and a server may say anything.
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
 * Carries all that a server is given into a step, as a JSON object, for a rehearsal that runs tasks before the server's own container is
 * there. For the step's client alone.
 */
export const SERVER_ENVIRONMENT = "SERVER_ENVIRONMENT";
