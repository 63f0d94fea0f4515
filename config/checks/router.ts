import type { Problem } from "../problems.ts";
import { errors, type Check } from "./check.ts";

/** Paths that the router closes must not be those that a deployment asks through it. */
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

/** No port of the Docker host twice. */
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
