import { createHash } from "node:crypto";

/** Fixed addresses in the private network: nginx must not depend on names that may not resolve. */
export interface Addresses {
  router: string;
  blue: string;
  green: string;
  database: string;
}

/** The private network, an IPv4 /24. */
export interface PrivateNetwork {
  subnet: string;
  gateway: string;
  /**
   * Where Docker takes addresses for containers without a fixed one, such as those of the steps: never from the lower half,
   * or one of them may sit on the router's address at the moment it starts.
   */
  dynamicRange: string;
}

/** A /24 of its own for each name, so that deployments side by side don't ask for the same network. */
export function subnetOf(name: string): string {
  return `10.213.${createHash("sha256").update(name).digest().readUInt8(0)}.0/24`;
}

/** The addresses in a /24. */
export function networkIn(subnet: string): { network: PrivateNetwork; addresses: Addresses } {
  const prefix = subnet.slice(0, subnet.lastIndexOf(".") + 1);
  return {
    network: { subnet, gateway: `${prefix}1`, dynamicRange: `${prefix}128/25` },
    addresses: { router: `${prefix}2`, blue: `${prefix}10`, green: `${prefix}11`, database: `${prefix}20` },
  };
}
