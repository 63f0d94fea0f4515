/**
 * The release that serves, started once more against another database, for as long as the step asks it: from the image and with
 * the environment of its own container, hardened like that, published nowhere.
 */
import * as z from "zod";
import { withDatabaseName } from "../connection.ts";
import type { StepContext } from "../context.ts";
import type { StepRequest } from "../contract.ts";
import { messageOf } from "../errors.ts";
import { createRedactor, type Redactor } from "../redact.ts";
import { servingQuestionSchema, type ServingRemoved, type ServingStarted } from "../serving-release.ts";
import { containerState, docker, lastLines, tryDocker, withoutSecrets } from "./docker.ts";
import { servingSlot } from "./serving-slot.ts";

const shownLines = 15;
/** Variables that the Docker client needs as they are on this machine: a server's own can't reach it by name, and are no secrets. */
const clientsOwn = new Set(["PATH", "HOME", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "SSH_AUTH_SOCK"]);
/** What is shorter is no secret, but a port or a log level. */
const shortestSecret = 12;

const containerSchema = z
  .array(
    z.looseObject({
      Image: z.string(),
      Config: z.looseObject({ Env: z.array(z.string()).nullish() }),
      HostConfig: z.looseObject({ ExtraHosts: z.array(z.string()).nullish(), Memory: z.number().default(0), ShmSize: z.number().default(0), Tmpfs: z.record(z.string(), z.string()).nullish() }),
      NetworkSettings: z.looseObject({ Networks: z.record(z.string(), z.unknown()) }),
    }),
  )
  .length(1);

export class ServingRelease {
  readonly #name: string;
  readonly #container: string;
  /** Of what the server was given: it may say anything when it does not work. */
  #redactor: Redactor = createRedactor({});
  readonly #signal: AbortSignal;

  constructor({ name }: Pick<StepRequest<"rehearse">, "name">, { signal }: Pick<StepContext, "signal">) {
    this.#name = name;
    this.#container = `togather-${name}-rehearsal`;
    this.#signal = signal;
  }

  /** Answers the step. */
  async answer(question: unknown): Promise<ServingStarted | ServingRemoved> {
    const asked = servingQuestionSchema.parse(question);
    if (asked.do === "remove it") return this.remove();
    return this.#start(asked.database).catch(async (error: unknown) => {
      await this.remove();
      return { problem: messageOf(error) };
    });
  }

  async #start(database: string): Promise<ServingStarted> {
    const serving = await servingSlot(this.#name, "");
    if (serving === undefined) return { nothing: "nothing serves yet that the migrations could break" };
    await this.remove();
    const [container] = containerSchema.parse(JSON.parse(await docker(["container", "inspect", `togather-${this.#name}-${serving.slot}`], this.#signal)));
    if (container === undefined) return { nothing: `${serving.slot} has no container` };
    const environment = (container.Config.Env ?? []).map((entry): [string, string] => {
      const at = entry.indexOf("=");
      const [key, value] = [entry.slice(0, at), entry.slice(at + 1)];
      return [key, key === "DATABASE_URL" ? withDatabaseName(value, database) : value];
    });
    const variables = Object.fromEntries(environment.filter(([key]) => !clientsOwn.has(key)));
    this.#redactor = createRedactor({ SERVER_SECRETS: JSON.stringify(Object.values(variables).filter((value) => value.length >= shortestSecret)) });
    const [network = "none", ...others] = Object.keys(container.NetworkSettings.Networks);
    const args = [
      ...["create", "--pull=never", `--name=${this.#container}`, `--network=${network}`, "--init", "--read-only"],
      ...Object.entries({ "/tmp": "rw,noexec,nosuid,size=64m", ...container.HostConfig.Tmpfs }).map(([path, options]) => `--tmpfs=${path}:${options}`),
      ...(container.HostConfig.ShmSize > 0 ? [`--shm-size=${container.HostConfig.ShmSize}`] : []),
      ...["--cap-drop=ALL", "--security-opt=no-new-privileges:true", "--restart=no", "--log-driver=json-file", "--log-opt=max-size=10m"],
      ...[`--label=org.togather.name=${this.#name}`, "--label=org.togather.part=step"],
      ...(container.HostConfig.Memory > 0 ? [`--memory=${container.HostConfig.Memory}`] : []),
      ...(container.HostConfig.ExtraHosts ?? []).map((host) => `--add-host=${host}`),
      // By name: values on a command line can be read by everybody on the machine.
      ...Object.keys(variables).map((key) => `--env=${key}`),
      ...environment.filter(([key]) => clientsOwn.has(key)).map(([key, value]) => `--env=${key}=${value}`),
      container.Image,
    ];
    const { ok, stderr } = await tryDocker(args, this.#signal, { ...withoutSecrets(process.env), ...variables });
    if (!ok) throw new Error(lastLines(stderr, 3));
    for (const other of others) await docker(["network", "connect", other, this.#container], this.#signal);
    await docker(["start", this.#container], this.#signal);
    return { host: this.#container, release: serving.release };
  }

  /** Removes it, whatever became of it; tells how it ended, and its last words. Harmless when it is not there. */
  async remove(): Promise<ServingRemoved> {
    const [state, logs] = await Promise.all([containerState(this.#container).catch(() => undefined), tryDocker(["logs", "--tail", String(shownLines), this.#container])]);
    if (state === undefined) return { exitCode: null, lines: [] };
    await tryDocker(["rm", "--force", "--volumes", this.#container]);
    const lines = `${logs.stdout}\n${logs.stderr}`.split("\n").filter((line) => line.trim() !== "");
    return { exitCode: state.status === "exited" ? state.exitCode : null, lines: lines.slice(-shownLines).map((line) => this.#redactor.text(line)) };
  }
}
