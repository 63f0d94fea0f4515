/**
 * The release that serves, started once more against another database while the step asks it: with the image and
 * environment of its own container, hardened in the same way, with no published port.
 */
import { containerName, oneOffName } from "../contract/names.ts";
import { withDatabaseName } from "../contract/connection.ts";
import type { StepContext } from "../contract/context.ts";
import type { StepRequest } from "../contract/steps.ts";
import { messageOf } from "../contract/errors.ts";
import { createRedactor, type Redactor } from "../contract/redact.ts";
import { servingQuestionSchema, type ServingRemoved, type ServingStarted } from "../contract/questions.ts";
import { containerState, docker, tryDocker } from "../host/docker.ts";
import { createOneOff, partsOf, redactorOf } from "./one-off-container.ts";
import { servingSlot } from "../host/serving-slot.ts";

const shownLines = 15;

export class ServingRelease {
  readonly #name: string;
  readonly #container: string;
  /** Knows the server's whole environment: a failing server may print any of it. */
  #redactor: Redactor = createRedactor({});
  readonly #signal: AbortSignal;

  constructor({ name }: Pick<StepRequest<"rehearse">, "name">, { signal }: Pick<StepContext, "signal">) {
    this.#name = name;
    this.#container = oneOffName(name, "rehearsal");
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
    const found = await partsOf(containerName(this.#name, serving.slot), this.#signal);
    const parts = {
      ...found,
      environment: found.environment.map(
        ([key, value]) => [key, key === "DATABASE_URL" ? withDatabaseName(value, database) : value] as const,
      ),
    };
    this.#redactor = redactorOf(parts);
    await createOneOff(this.#container, parts, { deployment: this.#name, signal: this.#signal });
    await docker(["start", this.#container], { signal: this.#signal });
    return { host: this.#container, release: serving.release };
  }

  /** Removes it in any case; returns its exit code and last lines. Harmless when it does not exist. */
  async remove(): Promise<ServingRemoved> {
    const [state, logs] = await Promise.all([
      containerState(this.#container).catch(() => undefined),
      tryDocker(["logs", "--tail", String(shownLines), this.#container]),
    ]);
    if (state === undefined) return { exitCode: null, lines: [] };
    await tryDocker(["rm", "--force", "--volumes", this.#container]);
    const lines = `${logs.stdout}\n${logs.stderr}`.split("\n").filter((line) => line.trim() !== "");
    return {
      exitCode: state.status === "exited" ? state.exitCode : null,
      lines: lines.slice(-shownLines).map((line) => this.#redactor.text(line)),
    };
  }
}
