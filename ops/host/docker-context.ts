/**
 * The engine of the Docker client's current context, read from its files: Pulumi's Docker plugin knows only
 * DOCKER_HOST.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { StepError } from "../contract/errors.ts";

interface Context {
  name: string;
  /** `unix:///run/user/1000/docker.sock` */
  host: string;
}

function readJson(file: string): Record<string, unknown> {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>;
  } catch {
    // Missing or unreadable: the client itself reports that where it matters.
    return {};
  }
}

/** The context in use. Undefined: the default one, or DOCKER_HOST overrides it. */
export function currentContext(env: NodeJS.ProcessEnv): Context | undefined {
  if ((env["DOCKER_HOST"] ?? "") !== "") return undefined;
  const directory = env["DOCKER_CONFIG"] ?? join(env["HOME"] ?? homedir(), ".docker");
  const chosen = env["DOCKER_CONTEXT"] ?? "";
  const name = chosen === "" ? readJson(join(directory, "config.json"))["currentContext"] : chosen;
  if (typeof name !== "string" || name === "" || name === "default") return undefined;
  const file = join(directory, "contexts", "meta", createHash("sha256").update(name).digest("hex"), "meta.json");
  const { Endpoints: endpoints } = readJson(file) as { Endpoints?: { docker?: { Host?: unknown } } };
  const host = endpoints?.docker?.Host;
  return typeof host === "string" && host !== "" ? { name, host } : undefined;
}

/**
 * The address of the engine that a context names, for all programs.
 * @throws {StepError} for a context that needs more than an address: certificates that only the Docker client knows.
 */
export function contextAddress(env: NodeJS.ProcessEnv): string | undefined {
  const context = currentContext(env);
  if (context === undefined) return undefined;
  if (/^(unix|ssh|npipe):/.test(context.host)) return context.host;
  throw new StepError(
    `the Docker client uses the context ${context.name} (${context.host}), and Pulumi's Docker plugin can't: images would be on one engine, containers on another`,
    {
      hint: `say the same by variables: DOCKER_HOST=${context.host}, and DOCKER_TLS_VERIFY and DOCKER_CERT_PATH for its certificates; or togather:host ssh://…; or docker context use default`,
    },
  );
}
