import { isIP } from "node:net";

/** The addresses of `togather:listenAddress`: one, or several with commas between them. */
export function listenAddresses(text: string): string[] {
  return [...new Set(text.split(",").map((address) => address.trim()))];
}

/** Addresses on which a listener is reached by every address of its machine. */
export const allAddresses: readonly string[] = ["0.0.0.0", "::"];

/** An address as it stands in a URL, or before a port. */
export const inUrl = (address: string): string => (address.includes(":") ? `[${address}]` : address);

/** Whether another one of these addresses listens there already. */
export function isCovered(address: string, all: readonly string[]): boolean {
  const every = isIP(address) === 6 ? "::" : "0.0.0.0";
  return address !== every && all.includes(every);
}
