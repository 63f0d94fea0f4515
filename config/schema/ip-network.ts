import { BlockList, isIP } from "node:net";

interface IpNetwork {
  address: string;
  /** Number of leading bits that all its addresses share; all bits for a single address. */
  prefix: number;
  family: "ipv4" | "ipv6";
}

/**
 * Parses an address, or a network in CIDR notation such as 192.0.2.0/24 or 2001:db8::/32. Undefined: other text, or a
 * network of all addresses.
 */
export function ipNetwork(text: string): IpNetwork | undefined {
  const [, address = "", bits] = /^([0-9A-Fa-f.:]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const version = isIP(address);
  // An IPv4-mapped IPv6 address has two spellings: only one of them would match.
  if (version === 0 || /^::ffff:/i.test(address)) return undefined;
  const most = version === 4 ? 32 : 128;
  const prefix = bits === undefined ? most : Number(bits);
  if (prefix < 1 || prefix > most) return undefined;
  return { address, prefix, family: version === 4 ? "ipv4" : "ipv6" };
}

/** Whether an IPv4 address is in one of these networks. */
export function includesAddress(networks: readonly string[], address: string): boolean {
  const list = new BlockList();
  for (const network of networks.map(ipNetwork))
    if (network !== undefined) list.addSubnet(network.address, network.prefix, network.family);
  return list.check(address);
}
