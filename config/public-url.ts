import type { Settings } from "./load.ts";

/** The machine of a Docker host that is reached by network; localhost for this machine's own engine. */
function machineOf(host: string): string {
  return /^(ssh|tcp):/.test(host) ? new URL(host).hostname : "localhost";
}

/**
 * Where people reach the router, as far as its settings tell: a listener on all addresses by the Docker host's name, one
 * on its loopback as localhost.
 */
export function publicUrl({ host: dockerHost, listenAddress, ports }: Pick<Settings, "host" | "listenAddress" | "ports">, scheme: "http" | "https"): string {
  const address = listenAddress.includes(":") ? `[${listenAddress}]` : listenAddress;
  const host = ["", "0.0.0.0", "::"].includes(listenAddress) ? machineOf(dockerHost) : ["127.0.0.1", "::1"].includes(listenAddress) ? "localhost" : address;
  const usual = { http: 80, https: 443 }[scheme];
  return `${scheme}://${host}${ports[scheme] === usual ? "" : `:${ports[scheme]}`}`;
}
