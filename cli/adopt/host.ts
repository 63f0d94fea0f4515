import { labels } from "../../ops/contract/names.ts";
import * as z from "zod";
import { dockerProblem, tryDocker, type DockerAnswer } from "../../ops/host/docker.ts";
import { oneOffArguments, type OneOff } from "../../ops/host/one-off.ts";
import { Failure } from "../failure.ts";

const containerSchema = z.object({
  /** Its name. */
  name: z.string().transform((name) => name.replace(/^\//, "")),
  image: z.string(),
  state: z.string(),
  /** `always`, `unless-stopped`, `no` or `on-failure`. */
  restart: z.string(),
  /** Ports in the container, such as `8080/tcp`, with their published ports on the host. */
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
  /** Id of its container, also of one with the host's network. Undefined: it is in none. */
  container: string | undefined;
}

/** The end of each variable in the output of `env -0`. */
const end = "\0";

/**
 * A host that has none of this project's images yet: it is examined with its existing images. Methods that begin with
 * `look`, or that read, change nothing; the few others say so.
 */
export class ForeignHost {
  readonly #on: { host: string; env: NodeJS.ProcessEnv };
  readonly #pid: string;

  /**
   * @param host as in `togather:host`; empty: the Docker client's own choice.
   * @param pid the process namespace of the host's services: in tests, that of a container in which systemd runs.
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

  /** Undefined: there is no such container. Its environment, which has secrets, is not read. */
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

  /** Names of the containers that publish a port of the host. */
  async publishers(port: number): Promise<string[]> {
    const stdout = await this.#mustDocker("ps", `--filter=publish=${port}/tcp`, "--format={{.Names}}");
    return stdout.split("\n").filter((one) => one !== "");
  }

  /**
   * Runs one statement in the container's own database, as its superuser through the container's socket.
   * @returns the only column of its only row.
   */
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

  /** Runs a program in a temporary container of one of the host's images; it can read all files and write none. */
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

  /** Reads a path of the host; symbolic links are followed. Undefined: it does not exist. */
  async #readAt(image: string, path: string, target: string, program: readonly string[]): Promise<string | undefined> {
    const { ok, stdout, stderr } = await this.#read(image, program, {
      network: "none",
      mounts: [{ type: "bind", source: path, target, readonly: true }],
    });
    if (ok) return stdout;
    if (/bind source path does not exist/.test(stderr)) return undefined;
    throw dockerProblem(stderr);
  }

  /** A file of the host. Undefined: it does not exist. */
  file(image: string, path: string): Promise<string | undefined> {
    return this.#readAt(image, path, "/file", ["cat", "/file"]);
  }

  /** Paths of the files with an ending below a directory of the host, relative to it. Undefined: it does not exist. */
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
   * The variables of an environment file as deploy.sh's shell reads them: quotes, expansions and concatenations
   * resolved.
   * @throws {Failure} where a shell can't read it. The shell's message is not shown: it quotes the file.
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

  /** TCP ports with a listener, including ports that containers publish. */
  async listening(image: string): Promise<Set<number>> {
    const answers = await Promise.all(
      ["/proc/net/tcp", "/proc/net/tcp6"].map((path) => this.#read(image, ["cat", path], { network: "host" })),
    );
    // Without IPv6 there is no second file.
    const [first] = answers;
    if (first?.ok !== true) throw dockerProblem(first?.stderr ?? "");
    return new Set(answers.flatMap(({ stdout }) => portsIn(stdout)));
  }

  /** Free bytes on the disk of the engine's images, volumes and containers. */
  async freeBytes(image: string): Promise<number | undefined> {
    const { ok, stdout } = await this.#read(image, ["df", "-kP", "/"], { network: "none" });
    const free = Number(stdout.trim().split("\n").at(-1)?.trim().split(/\s+/)[3]);
    return ok && Number.isFinite(free) ? free * 1024 : undefined;
  }

  /** The process that listens on a port of the host. Undefined: none, or one in another process namespace. */
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
   * Runs a program of the host itself, as its root. Everybody who can use the engine can do that.
   * @returns whether it succeeded, and its output.
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
   * Stops a container, which may be stopped already. If it starts by itself with the engine, that is switched off.
   * @param graceSeconds time before it is killed.
   */
  async stop(name: string, restart: string, graceSeconds = 40): Promise<void> {
    if (restart === "always") await this.#mustDocker("update", "--restart=no", name);
    await this.#mustDocker("stop", `--time=${graceSeconds}`, name);
  }

  /** Starts a container, which may run already, with its former restart policy. */
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

/** Parses the output of the search for a listener. */
export function listenerIn(printed: string): Listener | undefined {
  const [, pid] = /^pid (\d+)$/m.exec(printed) ?? [];
  if (pid === undefined) return undefined;
  // For Docker's containers, the last part is the container's scope or id. With cgroups of version 1, some controllers
  // have no units.
  const units = [...printed.matchAll(/^cgroup \d+:[^:]*:.*\/([^/\n]+\.service)$/gm)].map(([, unit]) => unit);
  // The last one of a line: an engine may itself run in a container of another engine.
  const [, container] = /^cgroup .*\/docker[-/]([0-9a-f]{64})(?:\.scope)?(?:\/|$)/m.exec(printed) ?? [];
  return { pid: Number(pid), program: /^program (.*)$/m.exec(printed)?.[1] ?? "", unit: units[0], container };
}
