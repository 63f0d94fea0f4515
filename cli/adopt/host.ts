import { labels } from "../../ops/contract/names.ts";
import * as z from "zod";
import { dockerProblem, tryDocker, type DockerAnswer } from "../../ops/host/docker.ts";
import { oneOffArguments, type OneOff } from "../../ops/host/one-off.ts";
import { Failure } from "../failure.ts";

const containerSchema = z.object({
  /** By which people know it. */
  name: z.string().transform((name) => name.replace(/^\//, "")),
  image: z.string(),
  state: z.string(),
  /** `always`, `unless-stopped`, `no` or `on-failure`. */
  restart: z.string(),
  /** Port in the container, such as `8080/tcp`, to where the host publishes it. */
  ports: z.record(z.string(), z.array(z.object({ HostPort: z.string() })).nullable()).nullable(),
  /** Its address by network. */
  networks: z.record(z.string(), z.object({ IPAddress: z.string() })),
});
/** A container of a node that this project did not make. */
export type ForeignContainer = z.infer<typeof containerSchema>;

/** A process of the host that listens on a port. */
export interface Listener {
  pid: number;
  /** Its program's name. */
  program: string;
  /** The systemd unit that started it; undefined where none did. */
  unit: string | undefined;
  /** Id of the container in which it runs, also of one that has the host's network; undefined where it is in none. */
  container: string | undefined;
}

/** Where a variable's value ends in what `env -0` prints. */
const end = "\0";

/**
 * A host that has none of this project's images yet: looked at with the images that are there. Whatever begins with `look`, or reads, changes
 * nothing; the few that change something say so.
 */
export class ForeignHost {
  readonly #on: { host: string; env: NodeJS.ProcessEnv };
  readonly #pid: string;

  /**
   * @param host as in `togather:host`; empty for the engine that the Docker client finds by itself.
   * @param pid the process namespace in which the host's services are: in tests, that of a container in which systemd runs.
   */
  constructor(host: string, env: NodeJS.ProcessEnv = process.env, pid = "host") {
    this.#on = { host, env };
    this.#pid = pid;
  }

  #docker(...args: string[]): Promise<DockerAnswer> {
    return tryDocker(args, this.#on);
  }

  async #mustDocker(...args: string[]): Promise<string> {
    const { ok, stdout, stderr } = await this.#docker(...args);
    if (!ok) throw dockerProblem(stderr);
    return stdout;
  }

  /** Undefined where there is no such container. Its environment, which has secrets, is not asked for. */
  async container(name: string): Promise<ForeignContainer | undefined> {
    const format =
      '{"name":{{json .Name}},"image":{{json .Image}},"state":{{json .State.Status}},"restart":{{json .HostConfig.RestartPolicy.Name}},"ports":{{json .HostConfig.PortBindings}},"networks":{{json .NetworkSettings.Networks}}}';
    const { ok, stdout, stderr } = await this.#docker("container", "inspect", `--format=${format}`, name);
    if (ok) return containerSchema.parse(JSON.parse(stdout));
    if (/no such container/i.test(stderr)) return undefined;
    throw dockerProblem(stderr);
  }

  /** Names of the containers of a deployment of this project. */
  async ownContainers(name: string): Promise<string[]> {
    const { ok, stdout, stderr } = await this.#docker(
      "ps",
      "--all",
      `--filter=label=${labels.name}=${name}`,
      "--format={{.Names}}",
    );
    if (!ok) throw dockerProblem(stderr);
    return stdout.split("\n").filter((one) => one !== "");
  }

  /** Names of the containers through which a port of the host leads. */
  async publishers(port: number): Promise<string[]> {
    const stdout = await this.#mustDocker("ps", `--filter=publish=${port}/tcp`, "--format={{.Names}}");
    return stdout.split("\n").filter((one) => one !== "");
  }

  /** One statement in the database that the container was made for, as its own superuser by the container's socket. Its only row's only column. */
  async query(container: string, sql: string): Promise<string> {
    const script =
      'exec psql --no-psqlrc --no-password --tuples-only --no-align --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-postgres}" --dbname="${POSTGRES_DB:-${POSTGRES_USER:-postgres}}" --command="$0"';
    const { ok, stdout, stderr } = await this.#docker(
      "exec",
      "--env=PGOPTIONS=-c default_transaction_read_only=on",
      container,
      "sh",
      "-c",
      script,
      sql,
    );
    if (!ok) throw dockerProblem(stderr);
    return stdout.trim();
  }

  /** A program in a one-off container of an image that the host has, which may read all files and write none. */
  #read(image: string, program: readonly string[], about: Pick<OneOff, "network" | "mounts">): Promise<DockerAnswer> {
    const args = oneOffArguments({
      ...about,
      image,
      program,
      capabilities: ["DAC_OVERRIDE"],
      options: ["--user=0:0"],
    });
    return this.#docker(...args);
  }

  /** Reads something that is at a path of the host, symbolic links followed. Undefined where it is not there. */
  async #readAt(image: string, path: string, target: string, program: readonly string[]): Promise<string | undefined> {
    const { ok, stdout, stderr } = await this.#read(image, program, {
      network: "none",
      mounts: [{ type: "bind", source: path, target, readonly: true }],
    });
    if (ok) return stdout;
    if (/bind source path does not exist/.test(stderr)) return undefined;
    throw dockerProblem(stderr);
  }

  /** A file of the host. Undefined where it is not there. */
  file(image: string, path: string): Promise<string | undefined> {
    return this.#readAt(image, path, "/file", ["cat", "/file"]);
  }

  /** Paths of the files below a directory of the host whose names end so, relative to it. Undefined where it is not there. */
  async filesBelow(image: string, directory: string, ending: string): Promise<string[] | undefined> {
    const found = await this.#readAt(image, directory, "/directory", [
      "find",
      "/directory",
      "-type",
      "f",
      "-name",
      `*${ending}`,
    ]);
    return found?.split("\n").flatMap((path) => (path === "" ? [] : [path.slice("/directory/".length)]));
  }

  /**
   * The variables that an environment file sets, as the shell that reads it for deploy.sh has them: quoted, expanded, joined.
   * @throws {Failure} where a shell can't read it. What the shell says is not shown: it quotes the file.
   */
  async variables(image: string, path: string): Promise<Record<string, string>> {
    const script = "set -eua; . /file >&2; exec env -0";
    const { ok, stdout, stderr } = await this.#read(
      image,
      [
        "sh",
        "-c",
        `command -v bash > /dev/null && exec env -i PATH="$PATH" bash -c "$0"; exec env -i PATH="$PATH" sh -c "$0"`,
        script,
      ],
      { network: "none", mounts: [{ type: "bind", source: path, target: "/file", readonly: true }] },
    );
    if (!ok) {
      if (/^docker: /m.test(stderr)) throw dockerProblem(stderr);
      const [, line] = /line (\d+): /.exec(stderr) ?? [];
      throw new Failure(
        "config",
        `${path} can't be read by a shell, as deploy.sh reads it${line === undefined ? "" : `: see its line ${line}`}`,
        "put values with spaces, quotes or other marks in single quotes there",
      );
    }
    const all = stdout.split(end).flatMap((entry): [string, string][] => {
      const at = entry.indexOf("=");
      return at < 1 ? [] : [[entry.slice(0, at), entry.slice(at + 1)]];
    });
    return Object.fromEntries(all.filter(([name]) => !["PATH", "PWD", "OLDPWD", "SHLVL", "_"].includes(name)));
  }

  /** TCP ports on which anything listens, containers' published ones included. */
  async listening(image: string): Promise<Set<number>> {
    const answers = await Promise.all(
      ["/proc/net/tcp", "/proc/net/tcp6"].map((path) => this.#read(image, ["cat", path], { network: "host" })),
    );
    // Without IPv6 there is no second one.
    const [first] = answers;
    if (first?.ok !== true) throw dockerProblem(first?.stderr ?? "");
    return new Set(answers.flatMap(({ stdout }) => portsIn(stdout)));
  }

  /** Bytes that are free where the engine keeps images, volumes and containers. */
  async freeBytes(image: string): Promise<number | undefined> {
    const { ok, stdout } = await this.#read(image, ["df", "-kP", "/"], { network: "none" });
    const free = Number(stdout.trim().split("\n").at(-1)?.trim().split(/\s+/)[3]);
    return ok && Number.isFinite(free) ? free * 1024 : undefined;
  }

  /** The process that listens on a port of the host; undefined where none does, or it is in another process namespace. */
  async listener(image: string, port: number): Promise<Listener | undefined> {
    const hex = port.toString(16).toUpperCase().padStart(4, "0");
    const script = `cat /proc/net/tcp /proc/net/tcp6 2> /dev/null | while read -r _ local _ state _ _ _ _ _ inode _; do
        case "$local $state" in *":$0 0A") echo "$inode";; esac; done | sort -u | while read -r inode; do
      for fd in /proc/[0-9]*/fd/*; do
        if [ "$(readlink "$fd" 2> /dev/null)" = "socket:[$inode]" ]; then
          process=\${fd%/fd/*}; echo "pid \${process#/proc/}"; echo "program $(cat "$process/comm")"; sed 's/^/cgroup /' "$process/cgroup"; exit
        fi
      done; done`;
    const { ok, stdout, stderr } = await this.#docker(
      ...[
        "run",
        "--rm",
        "--pull=never",
        "--log-driver=none",
        "--read-only",
        `--pid=${this.#pid}`,
        "--network=host",
        "--user=0:0",
        "--cap-drop=ALL",
        "--cap-add=SYS_PTRACE",
        "--cap-add=DAC_READ_SEARCH",
      ],
      ...["--security-opt=apparmor=unconfined", "--entrypoint=sh", image, "-c", script, hex],
    );
    if (!ok) throw dockerProblem(stderr);
    return listenerIn(stdout);
  }

  /**
   * Runs a program of the host itself, as its root. Whoever may use the engine may do that.
   * @returns whether it succeeded, and what it said.
   */
  async onHost(image: string, ...program: string[]): Promise<{ ok: boolean; said: string }> {
    const { ok, stdout, stderr } = await this.#docker(
      ...[
        "run",
        "--rm",
        "--pull=never",
        "--log-driver=none",
        `--pid=${this.#pid}`,
        "--network=none",
        "--user=0:0",
        "--cap-drop=ALL",
        "--cap-add=SYS_ADMIN",
        "--cap-add=SYS_CHROOT",
        "--cap-add=SYS_PTRACE",
      ],
      ...[
        "--security-opt=seccomp=unconfined",
        "--security-opt=apparmor=unconfined",
        "--entrypoint=nsenter",
        image,
        "-t",
        "1",
        "-m",
        "-n",
        "-p",
        "--",
        ...program,
      ],
    );
    return { ok, said: `${stdout}\n${stderr}`.trim() };
  }

  /**
   * Stops a container that may be stopped already. One that starts by itself with the engine is told not to.
   * @param graceSeconds after which it is killed.
   */
  async stop(name: string, restart: string, graceSeconds = 40): Promise<void> {
    if (restart === "always") await this.#mustDocker("update", "--restart=no", name);
    await this.#mustDocker("stop", `--time=${graceSeconds}`, name);
  }

  /** Starts a container that may run already, with the restart policy that it had. */
  async start(name: string, restart: string): Promise<void> {
    if (restart === "always") await this.#mustDocker("update", "--restart=always", name);
    await this.#mustDocker("start", name);
  }
}

/** Ports in the state LISTEN (0A) of a /proc/net/tcp. */
export function portsIn(table: string): number[] {
  return [...table.matchAll(/^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A /gm)].map(([, port = ""]) =>
    Number.parseInt(port, 16),
  );
}

/** What the look for a listener has printed. */
export function listenerIn(printed: string): Listener | undefined {
  const [, pid] = /^pid (\d+)$/m.exec(printed) ?? [];
  if (pid === undefined) return undefined;
  // Of Docker's containers, the last part is the container's scope or id. With cgroups of version 1, some controllers know nothing of units.
  const units = [...printed.matchAll(/^cgroup \d+:[^:]*:.*\/([^/\n]+\.service)$/gm)].map(([, unit]) => unit);
  // The last of a line: an engine may itself run in a container of another one.
  const [, container] = /^cgroup .*\/docker[-/]([0-9a-f]{64})(?:\.scope)?(?:\/|$)/m.exec(printed) ?? [];
  return { pid: Number(pid), program: /^program (.*)$/m.exec(printed)?.[1] ?? "", unit: units[0], container };
}
