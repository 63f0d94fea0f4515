import { allAddresses, inUrl, listenAddresses } from "./schema/listen-addresses.ts";
import type { Settings } from "./settings.ts";

/** The machine of a Docker host that is reached by network; localhost for this machine's own engine. */
function machineOf(host: string): string {
  return /^(ssh|tcp):/.test(host) ? new URL(host).hostname : "localhost";
}

type Reached = Pick<Settings, "host" | "listenAddress" | "ports" | "publicUrl">;

/**
 * The router's public URL: `togather:publicUrl`, or a guess from its settings. A listener on all addresses has the
 * Docker host's name, one on its loopback is localhost.
 */
export function publicUrl(
  { host: dockerHost, listenAddress, ports, publicUrl: told }: Reached,
  scheme: "http" | "https",
): string {
  if (told !== "" && new URL(told).protocol === `${scheme}:`) return new URL(told).origin;
  const addresses = listenAddresses(listenAddress);
  const [first = ""] = addresses;
  const reached = addresses.some((address) => address === "" || allAddresses.includes(address))
    ? machineOf(dockerHost)
    : ["127.0.0.1", "::1"].includes(first)
      ? "localhost"
      : inUrl(first);
  const host = told === "" ? reached : new URL(told).hostname;
  const usual = { http: 80, https: 443 }[scheme];
  return `${scheme}://${host}${ports[scheme] === usual ? "" : `:${ports[scheme]}`}`;
}

/** The URL to show to people: the setting, otherwise HTTPS where it is served. */
export function primaryUrl(settings: Reached & { tls?: unknown }): string {
  if (settings.publicUrl !== "") return new URL(settings.publicUrl).origin;
  return publicUrl(settings, settings.tls === undefined ? "http" : "https");
}
