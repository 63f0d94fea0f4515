/** Checks whether the bundled database's container would be replaced: requests fail until it is back. */
import * as z from "zod";
import { containerInPlace } from "./container-in-place.ts";

const commandSchema = z.array(z.string()).nullable();

/** The container's command where the number of connections is set. */
export function databaseCommand(maxConnections: number): string[] {
  return ["postgres", "-c", `max_connections=${maxConnections}`];
}

/** The wanted settings of the database's container. */
export interface WantedDatabase {
  /** The deployment's name. */
  name: string;
  /** Docker host; the local engine when empty. */
  host: string;
  /** Undefined: the current setting stays. */
  maxConnections: number | undefined;
}

/**
 * Reasons for which the container would be replaced, as sentences. Empty: it stays, or there is none yet.
 * @throws when the Docker host doesn't answer.
 */
export async function databaseReplacement({ name, host, maxConnections }: WantedDatabase): Promise<string[]> {
  const container = await containerInPlace({
    name,
    host,
    part: "database",
    image: "postgres",
    value: "{{json .Config.Cmd}}",
  });
  if (container === undefined) return [];
  const command = commandSchema.parse(container.value);
  const now = /^max_connections=(\d+)$/.exec(command?.at(-1) ?? "")?.[1] ?? "100";
  return [
    ...(container.imageStays ? [] : ["its image changes"]),
    ...(maxConnections === undefined || command?.join(" ") === databaseCommand(maxConnections).join(" ")
      ? []
      : [`max_connections is ${now}, and is to be ${maxConnections}`]),
  ];
}
