import { isIP } from "node:net";

/** The addresses of `togather:listenAddress`: one, or several separated by commas. */
export function listenAddresses(text: string): string[] {
  return [...new Set(text.split(",").map((address) => address.trim()))];
}

/** Addresses with which a listener accepts connections on every address of its machine. */
export const allAddresses: readonly string[] = ["0.0.0.0", "::"];

/** An address in the notation of a URL, or before a port. */
export const inUrl = (address: string): string => (address.includes(":") ? `[${address}]` : address);

/** Whether another one of these addresses already covers it. */
export function isCovered(address: string, all: readonly string[]): boolean {
  const every = isIP(address) === 6 ? "::" : "0.0.0.0";
  return address !== every && all.includes(every);
}
