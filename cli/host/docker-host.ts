import { imageRepository, labels } from "../../ops/contract/names.ts";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { endOf } from "../../ops/contract/programs.ts";
import { dockerProblem, startDocker, tryDocker, type DockerAnswer } from "../../ops/host/docker.ts";
import { oneOffArguments, type OneOff } from "../../ops/host/one-off.ts";
import { bundledImageTag } from "../../ops/image.ts";
import { Failure } from "../failure.ts";

const inspectedSchema = z.array(
  z.looseObject({
    Id: z.string(),
    Name: z.string(),
    RestartCount: z.number().default(0),
    State: z.looseObject({
      Status: z.string(),
      StartedAt: z.string(),
      FinishedAt: z.string(),
      ExitCode: z.number(),
      Health: z.looseObject({ Status: z.string() }).nullish(),
    }),
    Config: z.looseObject({ Labels: z.record(z.string(), z.string()).nullish() }),
    Mounts: z.array(z.looseObject({ Name: z.string().optional(), Destination: z.string() })).nullish(),
    NetworkSettings: z.looseObject({ Networks: z.record(z.string(), z.looseObject({ IPAddress: z.string() })) }),
  }),
);
/** A container in the engine's description. */
export type Container = z.infer<typeof inspectedSchema>[number];

const answerSchema = z.union([
  z.object({ error: z.string() }),
  z.object({ status: z.number(), slot: z.string().nullable(), body: z.string(), ms: z.number() }),
]);
/** One answer over HTTP, or the reason why there was none. */
export type Answer = z.infer<typeof answerSchema>;

/** What the router says of its maintenance, where that is on: the rest is what it answers past it. */
const routerAnswerSchema = answerSchema.and(z.object({ maintenance: z.string().optional() }));

const probeSchema = z.object({
  servers: z.record(z.string(), answerSchema),
  router: routerAnswerSchema.nullable(),
  files: z.record(z.string(), z.string().nullable()),
  control: answerSchema.nullable(),
});
export type ProbeAnswer = z.infer<typeof probeSchema>;

/** The input of `probe.mjs`. */
export interface ProbeQuestion {
  /** URL by name. */
  servers?: Record<string, string>;
  router?: { http: string; https: string; internal?: string; /** Its control socket. */ control?: string };
  /** Paths in the container, by name. */
  files?: Record<string, string>;
  /** The router's control socket. */
  control?: string;
}

/** Directories and volumes of the host by their path in the container; read-only. */
export interface Mounts {
  directories?: Record<string, string>;
  volumes?: Record<string, string>;
}

/** A name or file that the host doesn't have. */
export class NotOnHost extends Error {}

/** The engine of a deployment, on this machine or another one: files are read in containers, never from here. */
export class DockerHost {
  readonly #on: { host: string; env: NodeJS.ProcessEnv };
  #image: Promise<string> | undefined;

  /** @param host as in `togather:host`; empty: the Docker client's own choice. */
  constructor(host: string, env: NodeJS.ProcessEnv = process.env) {
    this.#on = { host, env };
  }

  #try(args: readonly string[], input?: string, give?: Record<string, string>): Promise<DockerAnswer> {
    return tryDocker(args, { ...this.#on, input, give });
  }

  /** Looks for the image that `probe` needs in advance. */
  findImage(): void {
    // A failure is reported where the image is used.
    this.#opsImage().catch(() => undefined);
  }

  /** The containers that exist, by name. */
  async containers(names: readonly string[]): Promise<Map<string, Container>> {
    const { ok, stdout, stderr } = await this.#try(["container", "inspect", ...names]);
    // Existing containers are listed even when others are missing.
    if (!ok && !/no such container/i.test(stderr)) throw dockerProblem(stderr);
    const found = inspectedSchema.parse(JSON.parse(stdout === "" ? "[]" : stdout));
    return new Map(found.map((container) => [container.Name.replace(/^\//, ""), container]));
  }

  /**
   * The ops image: of this version of the project, or the newest one on the host. Reading needs no particular version.
   */
  #opsImage(): Promise<string> {
    this.#image ??= (async () => {
      const current = bundledImageTag("ops");
      if ((await this.#try(["image", "inspect", "--format={{.Id}}", current])).ok) return current;
      const { ok, stdout, stderr } = await this.#try([
        "image",
        "ls",
        "--quiet",
        `--filter=reference=${imageRepository("ops")}`,
      ]);
      if (!ok) throw dockerProblem(stderr);
      const newest = stdout.split("\n")[0] ?? "";
      if (newest === "") throw new NotOnHost("the Docker host has no image of togather-ops");
      return newest;
    })();
    return this.#image;
  }

  /** `docker run` of the ops image with another program, which may only read and write files. */
  async #arguments(
    program: readonly string[],
    mounts: Mounts,
    network: string,
    { write = false, environment = [] as string[] } = {},
  ): Promise<string[]> {
    const mounted = (type: "bind" | "volume", sources: Record<string, string> = {}): NonNullable<OneOff["mounts"]> =>
      Object.entries(sources).map(([target, source]) => ({ type, source, target, readonly: !write }));
    return oneOffArguments({
      image: await this.#opsImage(),
      network,
      labels: { [labels.part]: "look" },
      interactive: true,
      capabilities: ["DAC_OVERRIDE"],
      mounts: [...mounted("bind", mounts.directories), ...mounted("volume", mounts.volumes)],
      variables: environment,
      options: ["--init"],
      program,
    });
  }

  /**
   * Runs a program in a temporary container.
   * @throws {NotOnHost} when a directory or the image does not exist.
   */
  async run(
    program: readonly string[],
    mounts: Mounts,
    options: { network?: string; input?: string; write?: boolean; environment?: Record<string, string> } = {},
  ): Promise<string> {
    const { network = "none", input, write = false, environment = {} } = options;
    const args = await this.#arguments(program, mounts, network, { write, environment: Object.keys(environment) });
    const { ok, stdout, stderr } = await this.#try(args, input, environment);
    if (ok) return stdout;
    if (/bind source path does not exist/.test(stderr))
      throw new NotOnHost("there is no such directory on the Docker host");
    throw dockerProblem(stderr);
  }

  /** Asks servers and reads files in one container in the deployment's network. */
  async probe(question: ProbeQuestion, mounts: Mounts, network?: string): Promise<ProbeAnswer> {
    const program = readFileSync(join(import.meta.dirname, "probe.mjs"), "utf8");
    const answer = await this.run(["node", "--input-type=module", "-"], mounts, {
      network,
      input: program,
      environment: { TOGATHER_QUESTION: JSON.stringify(question) },
    });
    return probeSchema.parse(JSON.parse(answer));
  }

  /**
   * Follows a file's lines, beginning with the last `tail` ones or all, until `onLine` returns "enough" or `signal`
   * is aborted. The container ends with this process, even after `kill -9`.
   */
  async follow(
    path: string,
    mounts: Mounts,
    onLine: (line: string) => "enough" | undefined,
    signal: AbortSignal,
    tail?: number,
  ): Promise<void> {
    // `cat` waits for the end of stdin, which this process holds open.
    const script = 'tail -n "$1" -F "$0" 2>/dev/null & cat >/dev/null; kill $!';
    const args = await this.#arguments(
      ["sh", "-c", script, path, tail === undefined ? "+1" : String(tail)],
      mounts,
      "none",
    );
    const child = startDocker(args, { ...this.#on, stdin: "open", detached: true, goesOn: true });
    const ended = endOf(child);
    const said: string[] = [];
    const stop = (): void => {
      child.stdin.end();
    };
    signal.addEventListener("abort", stop);
    const { onLines } = await import("../../ops/host/lines.ts");
    const enough = new AbortController();
    const complaints = onLines(child.stderr, (line) => said.push(line));
    await onLines(child.stdout, (line) => {
      if (enough.signal.aborted || onLine(line) !== "enough") return;
      enough.abort();
      stop();
    });
    const { exitCode, error } = await ended;
    await complaints;
    signal.removeEventListener("abort", stop);
    if (exitCode !== 0 && !enough.signal.aborted && !signal.aborted) {
      const stderr = said.join("\n");
      if (/bind source path does not exist/.test(stderr))
        throw new NotOnHost("there is no such directory on the Docker host");
      throw new Failure("other", `the log can't be followed: ${dockerProblem(stderr, error).message}`);
    }
  }
}
