/** What programs that are started get of this one's environment. */
import { SECRET_VARIABLES, SERVER_ENVIRONMENT } from "../contract/steps.ts";

const withheld: readonly string[] = [
  ...SECRET_VARIABLES,
  SERVER_ENVIRONMENT,
  "DATABASE_PASSWORD",
  "TOGATHER_REQUEST",
  "TOGATHER_FOUND",
  // Of this run alone: where the program leaves word of a refusal, and the lock that it was told to share.
  "TOGATHER_REFUSAL_FILE",
  "TOGATHER_LOCK",
];

/** The environment without the deployment's secrets and without Pulumi's own, such as the passphrase of its state: for programs that have no use for them. */
export function withoutSecrets(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(env).filter(([name]) => !withheld.includes(name) && !name.startsWith("PULUMI_")),
  );
}

/** The same for a Docker client. @param host as in `togather:host`; empty for the engine that the client finds by itself. */
export function dockerEnvironment(host: string, env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  return host === "" ? withoutSecrets(env) : { ...withoutSecrets(env), DOCKER_HOST: host };
}
