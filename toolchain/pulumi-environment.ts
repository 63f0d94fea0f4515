import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { contextHost } from "./docker.ts";
import type { Machine } from "./machine.ts";
import type { Installation } from "./installation.ts";
import { userPulumiHome } from "./pulumi-official.ts";

function credentialsDirectory(env: NodeJS.ProcessEnv): string {
  return env.PULUMI_CREDENTIALS_PATH ?? userPulumiHome(env);
}

/** Whether the user has chosen where state is kept: by environment, in Pulumi.yaml, or by `pulumi login`. */
export function hasBackend(env: NodeJS.ProcessEnv, project: string): boolean {
  if (env.PULUMI_BACKEND_URL || env.PULUMI_ACCESS_TOKEN) return true;
  const settings = join(project, "Pulumi.yaml");
  if (existsSync(settings) && /^backend:\s*(\{.*\burl:|\n\s+url:)/m.test(readFileSync(settings, "utf8"))) return true;
  try {
    const text = readFileSync(join(credentialsDirectory(env), "credentials.json"), "utf8");
    return Boolean((JSON.parse(text) as { current?: string }).current);
  } catch {
    return false;
  }
}

/** State in a directory of the project. */
function localBackend(project: string): string {
  const directory = join(project, ".togather", "state");
  mkdirSync(directory, { recursive: true });
  return pathToFileURL(directory).href;
}

/** A passphrase of this clone's own, made on first use. */
function localPassphrase(project: string): string {
  const file = join(project, ".togather", "passphrase");
  mkdirSync(dirname(file), { recursive: true });
  if (!existsSync(file)) writeFileSync(file, randomBytes(32).toString("base64url"), { mode: 0o600, flag: "wx" });
  return file;
}

/** The environment that every Pulumi of this project is called with. */
export function pulumiEnvironment(machine: Machine, project: string, installation: Installation): NodeJS.ProcessEnv {
  const { env } = machine;
  const environment: NodeJS.ProcessEnv = {
    ...env,
    PATH: [join(project, "node_modules", ".bin"), dirname(installation.command), env.PATH].join(delimiter),
    PULUMI_SKIP_UPDATE_CHECK: "true",
    // Half of Pulumi's SDK is loaded before a program can ask for this itself (config/node.ts). Measured: 0.4 s of a preview.
    NODE_COMPILE_CACHE: env.NODE_COMPILE_CACHE ?? join(project, "node_modules", ".cache", "node"),
  };
  if (installation.home) {
    environment.PULUMI_HOME = installation.home;
    // A login is the user's, and outlives a build.
    environment.PULUMI_CREDENTIALS_PATH = credentialsDirectory(env);
    environment.PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION = "true";
  }
  if (!hasBackend(env, project)) environment.PULUMI_BACKEND_URL = localBackend(project);
  if (env.PULUMI_CONFIG_PASSPHRASE === undefined && env.PULUMI_CONFIG_PASSPHRASE_FILE === undefined) {
    environment.PULUMI_CONFIG_PASSPHRASE_FILE = localPassphrase(project);
  }
  const dockerHost = contextHost(machine);
  if (dockerHost) environment.DOCKER_HOST = dockerHost;
  return environment;
}
