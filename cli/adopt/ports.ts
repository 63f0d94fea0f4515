/** Ports for this stack while the old node uses its final ones. */
import { slotNames } from "../../ops/contract/steps.ts";
import type { PlainSettings } from "../stack-file.ts";
import type { Node } from "./look.ts";

type WantedPorts = Pick<PlainSettings, "ports" | "slotPorts" | "databasePort">;

/** The other owner of a port, in words. Undefined: the port is free. */
export function holderOf(
  port: number,
  { listening, slots, names }: Pick<Node, "listening" | "slots" | "names">,
): string | undefined {
  // A stopped slot may be started again.
  const slot = slotNames.find((one) => slots[one]?.port === port);
  if (slot !== undefined) return `${names.slots[slot]} has it`;
  return listening.has(port) ? "something listens on it" : undefined;
}

/** Ports to use instead of taken ones: the first free one from these up. */
const instead = { http: 8880, https: 8843, blue: 18_080, green: 18_081, database: 15_433 };

/**
 * Ports on which this stack can run beside the old node. Those of the router are used only while the old node serves;
 * the others stay.
 */
export function portsBeside(settings: WantedPorts, node: Pick<Node, "listening" | "slots" | "names">): WantedPorts {
  const used = new Set<number>();
  const take = (wish: number, other: number): number => {
    const free = (port: number): boolean => !used.has(port) && holderOf(port, node) === undefined;
    let port = free(wish) ? wish : other;
    while (!free(port)) port += 1;
    used.add(port);
    return port;
  };
  const { ports, slotPorts } = settings;
  const http = take(ports.http, instead.http);
  const https = take(ports.https, instead.https);
  const [blue, green] = [take(slotPorts.blue, instead.blue), take(slotPorts.green, instead.green)];
  return {
    ports: { http, https },
    slotPorts: { blue, green },
    databasePort: take(settings.databasePort, instead.database),
  };
}
