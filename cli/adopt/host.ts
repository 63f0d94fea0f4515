import * as z from "zod";
import { dockerProblem, tryDocker, withoutSecrets } from "../../ops/client/docker.ts";

const containerSchema = z.object({
  image: z.string(),
  state: z.string(),
  /** Port in the container, such as `8080/tcp`, to where the host publishes it. */
  ports: z.record(z.string(), z.array(z.object({ HostPort: z.string() })).nullable()).nullable(),
});
/** A container of a node that this project did not make. */
export type ForeignContainer = z.infer<typeof containerSchema>;

/** Looks at a host that has none of this project's images yet: with the images that are there, and never more than reading. */
export class ForeignHost {
  readonly #env: NodeJS.ProcessEnv;

  /** @param host as in `togather:host`; empty for the engine that the Docker client finds by itself. */
  constructor(host: string, env: NodeJS.ProcessEnv = process.env) {
    this.#env = { ...withoutSecrets(env), ...(host === "" ? {} : { DOCKER_HOST: host }) };
  }

  #docker(...args: string[]): ReturnType<typeof tryDocker> {
    return tryDocker(args, undefined, this.#env);
  }

  /** Undefined where there is no such container. Its environment, which has secrets, is not asked for. */
  async container(name: string): Promise<ForeignContainer | undefined> {
    const format = '{"image":{{json .Image}},"state":{{json .State.Status}},"ports":{{json .HostConfig.PortBindings}}}';
    const { ok, stdout, stderr } = await this.#docker("container", "inspect", `--format=${format}`, name);
    if (ok) return containerSchema.parse(JSON.parse(stdout));
    if (/no such container/i.test(stderr)) return undefined;
    throw dockerProblem(stderr);
  }

  /** One statement in the database that the container was made for, as its own superuser by the container's socket. Its only row's only column. */
  async query(container: string, sql: string): Promise<string> {
    const script = 'exec psql --no-psqlrc --no-password --tuples-only --no-align --set=ON_ERROR_STOP=1 --username="${POSTGRES_USER:-postgres}" --dbname="${POSTGRES_DB:-${POSTGRES_USER:-postgres}}" --command="$0"';
    const { ok, stdout, stderr } = await this.#docker("exec", "--env=PGOPTIONS=-c default_transaction_read_only=on", container, "sh", "-c", script, sql);
    if (!ok) throw dockerProblem(stderr);
    return stdout.trim();
  }

  /** `cat` in a one-off container of an image that the host has. */
  #cat(image: string, path: string, ...options: string[]): ReturnType<typeof tryDocker> {
    const confined = ["--pull=never", "--log-driver=none", "--read-only", "--security-opt=no-new-privileges", "--user=0:0", "--cap-drop=ALL", "--cap-add=DAC_OVERRIDE"];
    return this.#docker("run", "--rm", ...confined, ...options, "--entrypoint=cat", image, path);
  }

  /** A file of the host, symbolic links followed. Undefined where it is not there. */
  async file(image: string, path: string): Promise<string | undefined> {
    const { ok, stdout, stderr } = await this.#cat(image, "/file", "--network=none", `--mount=type=bind,source=${path},target=/file,readonly`);
    if (ok) return stdout;
    if (/bind source path does not exist/.test(stderr)) return undefined;
    throw dockerProblem(stderr);
  }

  /** TCP ports on which anything listens, containers' published ones included. */
  async listening(image: string): Promise<Set<number>> {
    const answers = await Promise.all(["/proc/net/tcp", "/proc/net/tcp6"].map((path) => this.#cat(image, path, "--network=host")));
    // Without IPv6 there is no second one.
    const [first] = answers;
    if (first?.ok !== true) throw dockerProblem(first?.stderr ?? "");
    return new Set(answers.flatMap(({ stdout }) => portsIn(stdout)));
  }
}

/** Ports in the state LISTEN (0A) of a /proc/net/tcp. */
export function portsIn(table: string): number[] {
  return [...table.matchAll(/^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A /gm)].map(([, port = ""]) => Number.parseInt(port, 16));
}
