/** The owner of the public ports on the old node: finds it, stops it, starts it again. */
import { Failure } from "../failure.ts";
import type { ForeignHost } from "./host.ts";
import type { Proxy } from "./record.ts";

/** The proxy in words. */
export function describeProxy(proxy: Proxy): string {
  if (proxy.kind === "none") return "nothing, they are free";
  return proxy.kind === "unit" ? `${proxy.unit} of systemd` : `the container ${proxy.container}`;
}

/**
 * The owner of these ports of the host.
 * @throws {Failure} for one that this program could not start again: a process without a unit or container, or several
 * owners.
 */
export async function findProxy(host: ForeignHost, image: string, ports: readonly number[]): Promise<Proxy> {
  const found = new Map<string, Proxy>();
  for (const port of ports) {
    const containers = await host.publishers(port);
    for (const container of containers)
      found.set(container, {
        kind: "container",
        container,
        restart: (await host.container(container))?.restart ?? "no",
      });
    if (containers.length > 0) continue;
    const listener = await host.listener(image, port);
    if (listener === undefined) continue;
    const { unit, pid, program } = listener;
    // A container with the host's network publishes nothing.
    const container =
      unit === undefined && listener.container !== undefined ? await host.container(listener.container) : undefined;
    if (container !== undefined) {
      found.set(container.name, { kind: "container", container: container.name, restart: container.restart });
      continue;
    }
    if (unit === undefined || unit === "docker.service") {
      throw new Failure(
        "config",
        `port ${port} of the Docker host belongs to the process ${pid} (${program}), which neither systemd nor Docker has started: it could not be started again. Nothing was changed.`,
        `make it a service of systemd, or end it there (kill ${pid}) at a time when nobody is served, and run this again`,
      );
    }
    const { ok } = await host.onHost(image, "systemctl", "is-enabled", "--quiet", unit);
    found.set(unit, { kind: "unit", unit, enabled: ok });
  }
  const [proxy, ...more] = [...found.values()];
  if (proxy === undefined) return { kind: "none" };
  if (more.length > 0)
    throw new Failure(
      "config",
      `the ports ${ports.join(" and ")} of the Docker host belong to ${[...found.keys()].join(" and ")}, expected one owner. Nothing was changed.`,
      "stop the one that does not serve the old node",
    );
  return proxy;
}

async function systemctl(host: ForeignHost, image: string, unit: string, ...args: string[]): Promise<void> {
  const { ok, said } = await host.onHost(image, "systemctl", ...args, unit);
  if (!ok)
    throw new Failure(
      "other",
      `systemctl ${args.join(" ")} ${unit} failed on the Docker host: ${said}`,
      `on the Docker host: sudo systemctl ${args.join(" ")} ${unit}, then run this again`,
    );
}

/** Stops it, and keeps it from starting with the host. A stopped one stays stopped. */
export async function stopProxy(host: ForeignHost, image: string, proxy: Proxy): Promise<void> {
  // No slot is behind it any more: its open connections wait for nothing. The same time as in Caddy's own unit.
  if (proxy.kind === "container") await host.stop(proxy.container, proxy.restart, 5);
  else if (proxy.kind === "unit")
    await systemctl(host, image, proxy.unit, ...(proxy.enabled ? ["disable", "--now"] : ["stop"]));
}

/** Restores its former state. */
export async function startProxy(host: ForeignHost, image: string, proxy: Proxy): Promise<void> {
  if (proxy.kind === "container") await host.start(proxy.container, proxy.restart);
  else if (proxy.kind === "unit")
    await systemctl(host, image, proxy.unit, ...(proxy.enabled ? ["enable", "--now"] : ["start"]));
}
