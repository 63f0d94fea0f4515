/** Ports and subnets for tests that run beside each other: each worker of a run has its own share. */
import { randomInt } from "node:crypto";
import { execa } from "execa";
import { freePorts } from "../../cli/start/free-port.ts";

/** No run has more workers than this. */
const shares = 4;
const share = (Number(process.env["VITEST_POOL_ID"] ?? 1) - 1) % shares;

/** One of the whole numbers from `from` to `to`, `to` not counted, that are this worker's. */
const draw = (from: number, to: number): number => {
  const size = (to - from) / shares;
  return from + share * size + randomInt(size);
};

/**
 * A free port on the loopback that stays free: a port from the kernel could be another connection's before a container
 * listens there. So it is below the ephemeral range (Linux: 32768 and up).
 */
export async function freePort(): Promise<number> {
  const { port } = await freePorts({ port: draw(20_000, 30_000) });
  return port;
}

/** The first three numbers of a subnet (/24) that no network of the Docker engine has. */
export async function freeSubnet(): Promise<string> {
  const { stdout: ids } = await execa("docker", ["network", "ls", "--quiet"]);
  // A network that is removed meanwhile is no failure.
  const { stdout: networks } = await execa(
    "docker",
    ["network", "inspect", "--format={{range .IPAM.Config}}{{.Subnet}} {{end}}", ...ids.split("\n")],
    { reject: false },
  );
  for (;;) {
    const prefix = `10.214.${draw(0, 256)}`;
    if (!networks.includes(`${prefix}.`)) return prefix;
  }
}
