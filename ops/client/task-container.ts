/** The container of a task: like the slot's own, with another command, and removed after the task. */
import { containerName, oneOffName } from "../contract/names.ts";
import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";
import type { StepContext } from "../contract/context.ts";
import { messageOf } from "../contract/errors.ts";
import { endOf } from "../contract/programs.ts";
import { createRedactor, type Redactor } from "../contract/redact.ts";
import { withDatabaseName } from "../contract/connection.ts";
import { SERVER_ENVIRONMENT, type StepRequest } from "../contract/steps.ts";
import { taskQuestionSchema, type TaskQuestion, type TaskAnswer } from "../contract/questions.ts";
import { containerState, startDocker, tryDocker } from "../host/docker.ts";
import { onLines } from "../host/lines.ts";
import { createOneOff, partsOf, redactorOf, type ContainerParts } from "./one-off-container.ts";

/** Longest wait for new output, in ms. */
const answerMs = 1_000;
/** Pause between two looks at a container whose output has ended but that still runs, in ms. */
const lookMs = 2_000;
/** Seconds between SIGTERM and SIGKILL: a rollback may wait for it. */
const stopSeconds = 3;
/** Maximum of lines in one answer. */
const linesAtOnce = 200;
/** The longest line, in characters. */
const longest = 4_096;

type Start = Extract<TaskQuestion, { do: "start a task" }>;
/** Finds the parts of a task's container. */
type PartsOfTask = (asked: Start) => Promise<ContainerParts>;

export const isTaskQuestion = (question: unknown): boolean => taskQuestionSchema.safeParse(question).success;

/** For a rehearsal: the parts of the release's own container, with the copy as its database. */
export function partsOfRelease(
  { image, networks, tmpfs, shmSize, extraHosts }: NonNullable<StepRequest<"rehearse">["tasks"]>,
  env: NodeJS.ProcessEnv,
): PartsOfTask {
  const server = z.record(z.string(), z.string()).parse(JSON.parse(env[SERVER_ENVIRONMENT] ?? "{}"));
  return ({ database }) => {
    if (database === undefined) throw new Error("a task is rehearsed on a copy of the data only");
    const onCopy = Object.entries(server).map(
      ([key, value]) => [key, key === "DATABASE_URL" ? withDatabaseName(value, database) : value] as const,
    );
    return Promise.resolve({
      image,
      networks,
      tmpfs,
      shmSize,
      extraHosts,
      memory: 0,
      environment: [...onCopy, ["TOGATHER_REHEARSAL", "true"] as const],
    });
  };
}

export class TaskContainer {
  readonly #partsOfTask: PartsOfTask;
  readonly #deployment: string;
  readonly #name: string;
  readonly #signal: AbortSignal;
  #redactor: Redactor = createRedactor({});
  #lines: string[] = [];
  #exitCode: number | undefined;
  #problem: string | undefined;
  /** Work that must end before the next task. */
  #before: Promise<void> = Promise.resolve();
  #isThere = false;
  /** Called when there is something new. */
  #wake: () => void = () => undefined;

  /** @param partsOfRehearsed the parts of its container in a rehearsal. Default: the slot's. */
  constructor({ name }: { name: string }, { signal }: Pick<StepContext, "signal">, partsOfRehearsed?: PartsOfTask) {
    this.#partsOfTask =
      partsOfRehearsed ?? (({ slot }) => partsOf(slot === null ? "" : containerName(name, slot), signal));
    this.#deployment = name;
    // One slot's tasks may be rehearsed while the other's are run.
    this.#name = oneOffName(name, partsOfRehearsed === undefined ? "task" : "rehearsed-task");
    this.#signal = signal;
  }

  /** Begins to remove what a killed run has left, whether or not a task will run. */
  clear(): void {
    this.#before = this.remove();
    this.#before.catch(() => undefined);
  }

  /** Answers the step. */
  async answer(question: unknown): Promise<TaskAnswer> {
    const asked = taskQuestionSchema.parse(question);
    if (asked.do === "end the task") {
      // A task that is stopped in the middle may clean up.
      if (this.#exitCode === undefined && this.#problem === undefined)
        await tryDocker(["stop", `--time=${stopSeconds}`, this.#name]);
      await this.remove();
      return this.#news();
    }
    if (asked.do === "start a task") {
      await this.#start(asked).catch((error: unknown) => {
        this.#problem = this.#redactor.text(messageOf(error));
      });
    }
    const over = (): boolean => this.#lines.length > 0 || this.#exitCode !== undefined || this.#problem !== undefined;
    if (!over())
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, answerMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    return this.#news();
  }

  #news(): TaskAnswer {
    if (this.#problem !== undefined) return { problem: this.#problem };
    const lines = this.#lines.splice(0, linesAtOnce);
    return { lines, exitCode: this.#lines.length === 0 ? (this.#exitCode ?? null) : null };
  }

  async #start(asked: Start): Promise<void> {
    await this.#before;
    [this.#lines, this.#exitCode, this.#problem] = [[], undefined, undefined];
    // A killed run may have left one that still runs.
    await this.remove();
    const parts = await this.#partsOfTask(asked);
    this.#redactor = redactorOf(parts);
    this.#isThere = true;
    await createOneOff(this.#name, parts, {
      deployment: this.#deployment,
      command: asked.command,
      signal: this.#signal,
    });
    this.#before = this.#follow();
  }

  /**
   * Runs it, and waits for the end of the container itself, since the connection to an engine on another machine may
   * break before.
   */
  async #follow(): Promise<void> {
    try {
      const child = startDocker(["start", "--attach", this.#name]);
      const ended = endOf(child);
      const put = (line: string): void => {
        this.#lines.push(this.#redactor.text(line).slice(0, longest));
        this.#wake();
      };
      await Promise.all([ended, onLines(child.stdout, put), onLines(child.stderr, put)]);
      for (;;) {
        const state = await containerState(this.#name);
        if (state === undefined) throw new Error("somebody has removed its container");
        if (state.status === "created")
          throw new Error(this.#lines.splice(0).join(" ") || "its container does not start");
        if (state.status !== "running") {
          this.#exitCode = state.exitCode;
          break;
        }
        await sleep(lookMs, undefined, { signal: this.#signal });
      }
    } catch (error) {
      this.#problem = this.#redactor.text(messageOf(error));
    }
    this.#wake();
  }

  /** Removes it in any case. Harmless when it does not exist. */
  async remove(): Promise<void> {
    await tryDocker(["rm", "--force", "--volumes", this.#name]);
    this.#isThere = false;
  }

  /** Removes it at the end, if it was not removed before: by then another run may have a container of that name. */
  async end(): Promise<void> {
    if (this.#isThere) await this.remove();
  }
}
