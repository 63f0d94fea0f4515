import { networkOf } from "../network.ts";
import type { Problem } from "../problems.ts";
import { includesAddress } from "../schema/ip-network.ts";
import { listenAddresses } from "../schema/listen-addresses.ts";
import { errors, found, type Check } from "./check.ts";

/** Closed paths of the router must not be paths that a deployment requests through it. */
export const checkClosedPaths: Check = ({ stack: { router, source } }) => {
  const closed = router.closedPaths.find(
    (path) => source.healthPath === path || source.healthPath.startsWith(`${path}/`),
  );
  if (closed === undefined) return [];
  return errors([
    {
      where: "togather:router.closedPaths",
      what: `${closed} is closed, and the health endpoint ${source.healthPath} with it, which is asked through the router after each switch`,
      fix: `leave out ${closed}, or set togather:source.healthPath to another path`,
    },
  ]);
};

const isLoopback = (address: string): boolean => address === "::1" || address.startsWith("127.");

/** Trusted proxies: no visitor may be able to pass for one. */
export const checkTrustedProxies: Check = ({ stack, rules }) => {
  const { trustedProxies, proxyProtocol } = stack.router;
  const where = "togather:router.trustedProxies";
  if (proxyProtocol && trustedProxies.length === 0)
    return errors([
      {
        where: "togather:router.proxyProtocol",
        what: "is true, and no proxy is trusted: every visitor would be taken for the balancer",
        fix: "pulumi config set --path 'togather:router.trustedProxies[0]' ADDRESS, the address of the balancer as the router sees it",
      },
    ]);
  const { network } = networkOf(stack.subnet, stack.name ?? stack.environment);
  if (!includesAddress(trustedProxies, network.gateway)) return [];
  const open = listenAddresses(stack.listenAddress === "" ? rules.listenAddress : stack.listenAddress).filter(
    (address) => !isLoopback(address),
  );
  if (open.length === 0) return [];
  const fix =
    "name the addresses of your proxies alone; for one on the Docker host itself, pulumi config set togather:listenAddress 127.0.0.1";
  const sixth = open.find((address) => address.includes(":"));
  if (sixth !== undefined)
    return errors([
      {
        where,
        what: `has ${network.gateway} in it, as which Docker passes on every IPv6 connection to ${sixth}: each visitor could say that it is somebody else`,
        fix,
      },
    ]);
  return found("warn", [
    {
      where,
      what: `has ${network.gateway} in it, as which the router sees whoever connects from the Docker host itself, and with a rootless Docker everybody`,
      fix,
    },
  ]);
};

/** No port of the Docker host may be used twice. */
export const checkPorts: Check = ({ stack: { ports, slotPorts, database, databasePort }, rules }) => {
  const used: [string, number][] = [
    ["ports.http", ports.http],
    ...(rules.blueGreen
      ? ([
          ["ports.https", ports.https],
          ["slotPorts.blue", slotPorts.blue],
          ["slotPorts.green", slotPorts.green],
        ] satisfies [string, number][])
      : []),
    ...(database.mode === "bundled" ? ([["databasePort", databasePort]] satisfies [string, number][]) : []),
  ];
  return errors(
    used.flatMap(([key, port], index): Problem[] => {
      const other = used.slice(0, index).findLast(([, taken]) => taken === port);
      return other === undefined
        ? []
        : [{ where: `togather:${key}`, what: `port ${port} is already togather:${other[0]}` }];
    }),
  );
};
