import { createServer } from "node:net";

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => {
      resolve(false);
    });
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => {
      server.close(() => {
        resolve(true);
      });
    });
  });
}

/**
 * The wanted ports where they are free, otherwise the next free ones; no port twice.
 * @param room number of ports that are left out above each wanted one.
 */
export async function freePorts<Name extends string>(
  wished: Record<Name, number>,
  room = 0,
): Promise<Record<Name, number>> {
  const taken = new Set<number>();
  const found: [string, number][] = [];
  for (const [name, wish] of Object.entries<number>(wished)) {
    let port = wish + room;
    while (taken.has(port) || !(await isFree(port))) port += 1;
    taken.add(port);
    found.push([name, port]);
  }
  return Object.fromEntries(found) as Record<Name, number>;
}
