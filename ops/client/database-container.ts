/** Whether the bundled database's container would be replaced: requests fail until it is back. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import * as z from "zod";
import { bundledImageTag } from "../image.ts";
import { dockerEnvironment } from "./host-lock.ts";

const run = promisify(execFile);
/** Longest wait for the Docker host, in ms. */
const answerMs = 30_000;

const containerSchema = z.object({ image: z.string(), command: z.array(z.string()).nullable() });

/** What its container runs where the number of connections is set. */
export function databaseCommand(maxConnections: number): string[] {
  return ["postgres", "-c", `max_connections=${maxConnections}`];
}

/** What the settings want of it. */
export interface WantedDatabase {
  /** The deployment's name. */
  name: string;
  /** Docker host; the local engine when empty. */
  host: string;
  /** Undefined where it is to stay as it is. */
  maxConnections: number | undefined;
}

/** Why the container would be replaced, in sentences; empty when it stays, or there is none yet. @throws when the Docker host doesn't answer. */
export async function databaseReplacement({ name, host, maxConnections }: WantedDatabase): Promise<string[]> {
  const docker = (...args: string[]): Promise<string> => run("docker", args, { env: dockerEnvironment(host), timeout: answerMs }).then(({ stdout }) => stdout.trim());
  const [container, image] = await Promise.all([
    docker("container", "inspect", "--format", '{"image":"{{.Image}}","command":{{json .Config.Cmd}}}', `togather-${name}-db`).catch(() => undefined),
    // An image that is not there has yet to be built, so that it is another one.
    docker("image", "inspect", "--format", "{{.Id}}", bundledImageTag("postgres")).catch(() => "not built yet"),
  ]);
  if (container === undefined) return [];
  const is = containerSchema.parse(JSON.parse(container));
  const now = /^max_connections=(\d+)$/.exec(is.command?.at(-1) ?? "")?.[1] ?? "100";
  return [
    ...(is.image === image ? [] : ["its image changes"]),
    ...(maxConnections === undefined || is.command?.join(" ") === databaseCommand(maxConnections).join(" ") ? [] : [`max_connections is ${now}, and is to be ${maxConnections}`]),
  ];
}
