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
   * The range from which Docker takes addresses for containers without a fixed one, such as those of the steps. Never
   * the lower half: one of them could have the router's address when the router starts.
   */
  dynamicRange: string;
}

/** A separate /24 for each name, so that deployments on one host don't ask for the same network. */
export function subnetOf(name: string): string {
  return `10.213.${createHash("sha256").update(name).digest().readUInt8(0)}.0/24`;
}

/** The network of a deployment: the one that is set, or one by its name where `subnet` is empty. */
export const networkOf = (subnet: string, name: string): ReturnType<typeof networkIn> =>
  networkIn(subnet === "" ? subnetOf(name) : subnet);

/** The addresses in a /24. */
export function networkIn(subnet: string): { network: PrivateNetwork; addresses: Addresses } {
  const prefix = subnet.slice(0, subnet.lastIndexOf(".") + 1);
  return {
    network: { subnet, gateway: `${prefix}1`, dynamicRange: `${prefix}128/25` },
    addresses: { router: `${prefix}2`, blue: `${prefix}10`, green: `${prefix}11`, database: `${prefix}20` },
  };
}
