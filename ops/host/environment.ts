/** The environment of started programs. */
import { SECRET_VARIABLES, SERVER_ENVIRONMENT } from "../contract/steps.ts";

const withheld: readonly string[] = [
  ...SECRET_VARIABLES,
  SERVER_ENVIRONMENT,
  "DATABASE_PASSWORD",
  "TOGATHER_REQUEST",
  "TOGATHER_FOUND",
  // For this run only: the file for the program's refusals, and the lock that it shares.
  "TOGATHER_REFUSAL_FILE",
  "TOGATHER_LOCK",
];

/**
 * The environment without the deployment's secrets and without Pulumi's own, such as its state's passphrase: for
 * programs that don't need them.
 */
export function withoutSecrets(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => !withheld.includes(name) && !name.startsWith("PULUMI_")),
  );
}

/**
 * The same for a Docker client.
 * @param host as in `togather:host`; empty: the client's own choice.
 */
export function dockerEnvironment(host: string, env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  return host === "" ? withoutSecrets(env) : { ...withoutSecrets(env), DOCKER_HOST: host };
}
