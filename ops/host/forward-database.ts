/**
 * Forwards a local port to the bundled database on another machine's Docker engine, for programs that speak PostgreSQL
 * themselves (Pulumi's provider): the engine publishes it on its own machine's loopback only.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { StepError } from "../contract/errors.ts";
import { currentContext } from "./docker-context.ts";
import { dockerEnvironment } from "./environment.ts";

export interface ForwardRequest {
  /** PostgreSQL's container; it may not exist yet. */
  container: string;
  /** Docker host; the environment's when empty. */
  host: string;
  /** `address:port` of the deployment's engine; the forwarding ends with it. */
  engine: string;
  /** See `forwardedPort`. */
  port: number;
}

/** Whether an engine's loopback is another machine's, judged by its address. */
export function isElsewhere(host: string, environment: NodeJS.ProcessEnv): boolean {
  const address = host === "" ? (environment["DOCKER_HOST"] ?? currentContext(environment)?.host ?? "") : host;
  return address !== "" && !/^(unix|npipe|fd):/.test(address);
}

/**
 * The port of this machine for a deployment's database: the same at each run, so that Pulumi sees no change, and below
 * the ephemeral range.
 */
export function forwardedPort(name: string): number {
  return 20_000 + (createHash("sha256").update(`database ${name}`).digest().readUInt16BE() % 10_000);
}

/**
 * Forwards a port of this machine's loopback until the engine is gone.
 * @returns the port: the wanted one, or the next that is free.
 * @throws {StepError} when there is none.
 */
export async function forwardDatabase({ container, host, engine, port }: ForwardRequest): Promise<number> {
  const child = spawn(
    process.execPath,
    [join(import.meta.dirname, "database-forward.mjs"), container, String(port), engine],
    {
      env: dockerEnvironment(host),
      stdio: ["ignore", "pipe", "ignore"],
      // Ctrl-C ends a deployment in order, and this process with it.
      detached: true,
      windowsHide: true,
    },
  );
  const { stdout } = child;
  const gone = once(child, "close").then(() => undefined);
  const said = await Promise.race([once(stdout.setEncoding("utf8"), "data").then(([text]) => String(text)), gone]);
  if (said === undefined)
    throw new StepError(
      `no port of 127.0.0.1 from ${port} on could be opened, through which the database of the Docker host is reached`,
      { hint: `ss -ltn | grep :${port}` },
    );
  stdout.destroy();
  child.unref();
  return Number(said);
}
