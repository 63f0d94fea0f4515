import type { Settings } from "./load.ts";

/** Where people reach the router, as far as its settings tell: a listener on all addresses is shown as localhost. */
export function publicUrl({ listenAddress, ports }: Pick<Settings, "listenAddress" | "ports">, scheme: "http" | "https"): string {
  const everywhere = ["", "0.0.0.0", "::", "127.0.0.1", "::1"].includes(listenAddress);
  const host = everywhere ? "localhost" : listenAddress.includes(":") ? `[${listenAddress}]` : listenAddress;
  const usual = { http: 80, https: 443 }[scheme];
  return `${scheme}://${host}${ports[scheme] === usual ? "" : `:${ports[scheme]}`}`;
}
