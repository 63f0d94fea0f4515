import { labels } from "../../ops/contract/names.ts";
import * as z from "zod";
import { allAddresses, listenAddresses } from "../../config/schema/listen-addresses.ts";
import { environmentRules } from "../../config/schema/environments.ts";
import { tryDocker } from "../../ops/host/docker.ts";
import { unreachable } from "../../ops/host/unreachable.ts";
import { oneOffArguments } from "../../ops/host/one-off.ts";
import { StepError } from "../../ops/contract/errors.ts";
import type { PlainSettings } from "../stack-file.ts";
import { fail, ok, warn, type Finding } from "./finding.ts";

const oldestEngine = "20.10.0";
/** The base image of all Dockerfiles of this project; the lock needs it too. */
const baseImage = "debian:trixie-slim";
const GiB = 1024 ** 3;
/** Space for images of two releases and their builds, and for a snapshot beside the last ones. */
const space = {
  data: { fail: 1 * GiB, warn: 5 * GiB },
  backups: { fail: 0.25 * GiB, warn: 2 * GiB },
  logs: { fail: 0.05 * GiB, warn: 0.5 * GiB },
} as const;
/** Differences of clocks, in seconds: ids, logs and tokens contain the time. */
const clock = { warn: 2, fail: 60 } as const;

const infoSchema = z.looseObject({
  ServerVersion: z.string(),
  SystemTime: z.string(),
  DockerRootDir: z.string(),
  OperatingSystem: z.string(),
  NCPU: z.number(),
});

type Where = Pick<
  PlainSettings,
  | "name"
  | "environment"
  | "host"
  | "ports"
  | "slotPorts"
  | "databasePort"
  | "listenAddress"
  | "tls"
  | "database"
  | "stateLocation"
  | "logLocation"
>;

/** The script with which one container examines its host: space below each directory, and ports with a listener. */
const script = `
ports=$1
shift
for location; do
  path=/host$location
  while [ ! -e "$path" ]; do path=$(dirname "$path"); done
  echo "space $location $(df -PB1 "$path" | awk 'NR == 2 { print $4 }')"
done
for port in $ports; do
  address=\${port%=*} number=\${port##*=}
  (exec 3<>"/dev/tcp/$address/$number") 2>/dev/null && echo "listens $number"
done
exit 0
`;

const gib = (bytes: number): string => `${(bytes / GiB).toFixed(1)} GiB free`;

/** Compares the host's clock with this machine's, read before and after the host's answer. */
export function clockFinding(hostTime: number, before: number, after: number): Finding {
  const uncertain = (after - before) / 2000;
  const difference = (hostTime - (before + after) / 2) / 1000;
  const least = Math.max(0, Math.abs(difference) - uncertain);
  const found = `${Math.abs(difference).toFixed(1)} s ${difference < 0 ? "behind" : "ahead of"} this machine (± ${uncertain.toFixed(1)} s)`;
  if (least < clock.warn) return ok("clock of the Docker host", found);
  return (least < clock.fail ? warn : fail)(
    "clock of the Docker host",
    found,
    `less than ${clock.warn} s`,
    "timedatectl set-ntp true, on the machine that is wrong",
  );
}

function spaceFinding(check: string, location: string, bytes: number, limits: { fail: number; warn: number }): Finding {
  const found = `${location}: ${gib(bytes)}`;
  if (bytes >= limits.warn) return ok(check, found);
  return (bytes >= limits.fail ? warn : fail)(
    check,
    found,
    gib(limits.warn),
    "docker system df shows what takes room; docker image prune removes images that nothing uses",
  );
}

/** The owner of each port, judged by the containers that publish it. */
async function portFindings(
  { name, environment, ports, slotPorts, databasePort, database, tls }: Where,
  listening: ReadonlySet<number>,
  docker: (...args: string[]) => ReturnType<typeof tryDocker>,
): Promise<Finding[]> {
  const wanted: [key: string, port: number][] = [
    ["ports.http", ports.http],
    ...(tls === undefined ? [] : ([["ports.https", ports.https]] as [string, number][])),
    ...(environmentRules[environment].blueGreen
      ? ([
          ["slotPorts.blue", slotPorts.blue],
          ["slotPorts.green", slotPorts.green],
        ] as [string, number][])
      : []),
    ...(database.mode === "bundled" ? ([["databasePort", databasePort]] as [string, number][]) : []),
  ];
  return Promise.all(
    wanted.map(async ([key, port]) => {
      const check = `port ${port}`;
      const { stdout } = await docker(
        "ps",
        `--filter=publish=${port}`,
        `--format={{.Names}} {{.Label "${labels.name}"}}`,
      );
      const [container = "", owner = ""] = (stdout.split("\n")[0] ?? "").split(" ");
      if (owner === name) return ok(check, `ours (${container})`);
      if (container === "" && !listening.has(port)) return ok(check, "free");
      return fail(
        check,
        container === "" ? "somebody listens on it" : `taken by the container ${container}`,
        "free, or this deployment's",
        `pulumi config set --path togather:${key} PORT, or end what has it (ss -ltnp, on the Docker host)`,
      );
    }),
  );
}

/** The Docker host: its engine, its clock, its disks, its ports. */
export async function hostFindings(settings: Where, backupLocation: string): Promise<Finding[]> {
  const { name, host, stateLocation, logLocation, ports, slotPorts, databasePort, listenAddress } = settings;
  const docker = (...args: string[]) => tryDocker(args, { host });
  const at = host === "" ? "the local engine" : host;
  const reach = `${host === "" ? "" : `DOCKER_HOST=${host} `}docker version`;
  const before = Date.now();
  let asked: Awaited<ReturnType<typeof docker>>;
  try {
    asked = await docker("info", "--format={{json .}}");
  } catch (error) {
    if (!(error instanceof StepError)) throw error;
    return [fail("docker", error.message, "a Docker client", error.hint ?? reach)];
  }
  const after = Date.now();
  const silent = unreachable(asked.stderr);
  if (silent !== undefined)
    return [fail("docker", silent.message, `an engine of ${oldestEngine} or newer`, silent.hint ?? reach)];
  const info = asked.ok ? infoSchema.safeParse(JSON.parse(asked.stdout)) : undefined;
  if (info?.success !== true)
    return [
      fail(
        "docker",
        `${at} does not answer: ${asked.stderr.trim().split("\n").at(-1) ?? ""}`,
        `an engine of ${oldestEngine} or newer`,
        reach,
      ),
    ];
  const { ServerVersion, SystemTime, DockerRootDir, OperatingSystem, NCPU } = info.data;
  const { default: semver } = await import("semver");
  const version = semver.coerce(ServerVersion);
  const engine = `${at}: Docker ${ServerVersion}, ${OperatingSystem}, ${NCPU} processors`;
  const findings: Finding[] = [
    version !== null && semver.lt(version, oldestEngine)
      ? fail("docker", engine, `${oldestEngine} or newer`, "https://docs.docker.com/engine/install/")
      : ok("docker", engine),
    clockFinding(Date.parse(SystemTime), before, after),
  ];

  const addresses = listenAddresses(listenAddress).map((address) =>
    allAddresses.includes(address) ? "127.0.0.1" : address,
  );
  const listen = [
    ...new Set(addresses.flatMap((address) => [`${address}=${ports.http}`, `${address}=${ports.https}`])),
    ...[slotPorts.blue, slotPorts.green, databasePort].map((port) => `127.0.0.1=${port}`),
  ];
  const locations = [
    ["disk of the engine", DockerRootDir, space.data],
    ["disk of the snapshots", backupLocation, space.backups],
    ["disk of the logs", logLocation, space.logs],
    ["disk of the state", stateLocation, space.logs],
  ] as const;
  const looked = await docker(
    ...oneOffArguments({
      image: baseImage,
      network: "host",
      capabilities: ["DAC_READ_SEARCH"],
      mounts: [{ type: "bind", source: "/", target: "/host", readonly: true }],
      command: ["bash", "-c", script, "bash", listen.join(" "), ...locations.map(([, path]) => path)],
    }),
  );
  if (!looked.ok) {
    findings.push(
      /no such image|unable to find image/i.test(looked.stderr)
        ? warn(
            "base image",
            `the host has no ${baseImage}, so that its disks and ports can't be looked at`,
            "the image: each build starts from it, and the lock",
            `docker pull ${baseImage}, or it is pulled by the first deployment`,
          )
        : fail(
            "disks and ports",
            looked.stderr.trim().split("\n").at(-1) ?? "",
            "a container that can be started",
            `${host === "" ? "" : `DOCKER_HOST=${host} `}docker run --rm ${baseImage} true`,
          ),
    );
    return findings;
  }
  const lines = looked.stdout.split("\n").map((line) => line.split(" "));
  const free = new Map(
    lines.filter(([kind]) => kind === "space").map((words) => [words.slice(1, -1).join(" "), Number(words.at(-1))]),
  );
  for (const [check, path, limits] of locations) {
    const bytes = free.get(path);
    if (bytes !== undefined) findings.push(spaceFinding(check, path, bytes, limits));
  }
  const listening = new Set(lines.filter(([kind]) => kind === "listens").map(([, port]) => Number(port)));
  return [...findings, ...(await portFindings({ ...settings, name }, listening, docker))];
}
