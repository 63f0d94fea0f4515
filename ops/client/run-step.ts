/** Runs a step in its container: `docker run` with the request and secrets by name, progress through, result back. */
import { containerName, labels, oneOffName } from "../contract/names.ts";
import { randomBytes } from "node:crypto";
import {
  aliveEveryMs,
  encodeAlive,
  encodeAnswer,
  encodeStart,
  encodeStop,
  questionIn,
  type Stop,
} from "../contract/channel.ts";
import { containerPaths, type StepContext } from "../contract/context.ts";
import { contract, SECRET_VARIABLES, type ContainerStep, type StepRequest } from "../contract/steps.ts";
import { messageOf, StepError } from "../contract/errors.ts";
import { failureQuestionSchema } from "../contract/questions.ts";
import { bundledImageDigest, bundledImageTag } from "../image.ts";
import { endOf } from "../contract/programs.ts";
import type { Redactor } from "../contract/redact.ts";
import { dockerProblem, startDocker, tryDocker } from "../host/docker.ts";
import { runFailureCommand } from "./failure-command.ts";
import { onLines } from "../host/lines.ts";
import { oneOffArguments } from "../host/one-off.ts";

export interface StepRun<Request = StepRequest<ContainerStep>> {
  step: ContainerStep;
  request: Request;
  context: StepContext;
  redactor: Redactor;
  /** Shows a line of the step's output, within bounds. */
  show: (line: string) => void;
  /** Shows a line of the operator's failure command. Default: the same as the step's. */
  showFailureCommand?: (line: string) => void;
  /** The migrations' tar. */
  payload?: Buffer;
  /** Environment beside the request and the secrets. */
  environment?: Record<string, string>;
  /** Time that a step has to stop before it is killed, in ms. */
  stopMs: number;
  /** Runs beside the step; a value that it resolves with stops the step. */
  watch?: (signal: AbortSignal) => Promise<Stop | undefined>;
  /** Answers the step's questions. */
  answer?: (question: unknown) => Promise<unknown>;
}

/** A step that has already reported its error on stderr. */
export class StepFailed extends Error {
  readonly exitCode: number;
  constructor(exitCode: number) {
    super(`the step ended with exit code ${exitCode}`);
    this.exitCode = exitCode;
  }
}

function hostDirectory(location: string, what: string): string {
  if (!location.startsWith("/") || location.includes(":")) {
    throw new StepError(`${what} is "${location}", expected an absolute path on the Docker host, without a colon`);
  }
  return location;
}

/** The mounts of a step's container. */
function volumesOf(request: StepRequest<ContainerStep>): string[] {
  return [
    `${hostDirectory(request.stateLocation, "stateLocation")}:${containerPaths.state}`,
    `${hostDirectory(request.logLocation, "logLocation")}:${containerPaths.logs}`,
    // A request has these where the step's definition has the mount.
    ...("backupLocation" in request
      ? [`${hostDirectory(request.backupLocation, "backupLocation")}:${containerPaths.backups}`]
      : []),
    ...("volume" in request ? [`${request.volume}:${containerPaths.router}`] : []),
  ];
}

interface Started {
  containerName: string;
  image: string;
  /** The container whose network namespace the step shares. Undefined: it gets its own. */
  joins: string | undefined;
}

function runArguments(
  { request, step }: StepRun,
  { containerName, image, joins }: Started,
  environmentNames: readonly string[],
): string[] {
  return oneOffArguments({
    image,
    command: [step],
    name: containerName,
    network: joins === undefined ? ("network" in request ? request.network : "none") : `container:${joins}`,
    labels: { [labels.name]: request.name, [labels.part]: "step" },
    interactive: true,
    // Root, for directories that belong to the operator, but only with these of root's capabilities.
    capabilities: ["CHOWN", "DAC_OVERRIDE", "FOWNER"],
    variables: environmentNames,
    options: [
      "--init",
      "--tmpfs=/tmp",
      // A database may be on the Docker host itself. Docker refuses this option in another container's namespace.
      ...(joins === undefined ? ["--add-host=host.docker.internal:host-gateway"] : []),
      // Unlike --mount, this creates a missing directory.
      ...volumesOf(request).map((volume) => `--volume=${volume}`),
    ],
  });
}

interface Attempt {
  exitCode: number;
  stdout: string;
  /** Output of the Docker client itself, not of the step. */
  dockerSaid: string;
}

async function attempt(run: StepRun, image: string, joins: string | undefined): Promise<Attempt> {
  const { context, redactor, step, request } = run;
  const { signal } = context;
  const containerName = oneOffName(request.name, step, randomBytes(4).toString("hex"));
  const environment: Record<string, string> = { ...run.environment, TOGATHER_REQUEST: JSON.stringify(request) };
  for (const name of SECRET_VARIABLES) {
    const value = context.env[name];
    if (value !== undefined && value !== "") environment[name] = value;
  }
  const child = startDocker(runArguments(run, { containerName, image, joins }, Object.keys(environment)), {
    env: context.env,
    give: environment,
    stdin: "open",
  });
  const ended = endOf(child);
  const dockerSaid: string[] = [];
  const stderr = onLines(child.stderr, (line) => {
    if (/^docker: |^(See|Run) 'docker run --help'|^$/.test(line)) dockerSaid.push(line.replace(/^docker: /, ""));
    else run.show(redactor.text(line));
  });
  // Questions come before the result, one at a time.
  let said = "";
  const stdout = onLines(child.stdout, (line) => {
    const asked = questionIn(line);
    if (asked === undefined) {
      said += `${line}\n`;
      return;
    }
    const failure = failureQuestionSchema.safeParse(asked.question);
    // It has its own time limit: the step's limit no longer applies.
    if (failure.success) clearTimeout(killing);
    const answering = failure.success
      ? runFailureCommand(
          failure.data,
          request,
          (line) => {
            (run.showFailureCommand ?? run.show)(redactor.text(line));
          },
          context.env,
        ).then(() => {
          if (killing !== undefined) killing = setTimeout(kill, run.stopMs);
          return {};
        })
      : (run.answer?.(asked.question) ?? Promise.reject(new Error("nobody answers this step")));
    void answering
      .catch((error: unknown) => ({ problem: messageOf(error) }))
      .then((answer) => child.stdin.write(encodeAnswer(redactor.value(answer))));
  });
  child.stdin.write(encodeStart(run.payload ?? Buffer.alloc(0)));
  const alive = setInterval(() => child.stdin.write(encodeAlive()), aliveEveryMs);
  child.stdin.write(encodeAlive());

  let killing: NodeJS.Timeout | undefined;
  const kill = (): void => {
    void tryDocker(["kill", containerName]).catch(() => undefined);
    // The client may hang together with the engine.
    setTimeout(() => child.kill("SIGKILL"), 5_000).unref();
  };
  const stop = (reason: Stop): void => {
    if (killing !== undefined) return;
    child.stdin.write(encodeStop(reason));
    killing = setTimeout(kill, run.stopMs);
  };
  const interrupt = (): void => {
    stop({ message: "interrupted", interrupted: true });
  };
  signal.addEventListener("abort", interrupt);
  if (signal.aborted) interrupt();
  const watching = new AbortController();
  run.watch?.(watching.signal).then(
    (reason) => {
      if (reason !== undefined) stop(reason);
    },
    // The step itself then decides, a little later.
    (error: unknown) => {
      context.log.warn(`the container is not watched: ${messageOf(error)}`);
    },
  );
  try {
    const { exitCode, error } = await ended;
    if (error !== undefined) throw dockerProblem(error.message, error);
    await Promise.all([stderr, stdout]);
    return { exitCode: exitCode ?? 137, stdout: said, dockerSaid: dockerSaid.join("\n").trim() };
  } finally {
    clearInterval(alive);
    clearTimeout(killing);
    watching.abort();
    signal.removeEventListener("abort", interrupt);
  }
}

/** The router's container, for a step that runs in its network namespace. */
function joined({ step, request }: StepRun): string | undefined {
  const joinsRouter = contract[step].joinsRouter as (request: StepRequest<ContainerStep>) => boolean;
  return joinsRouter(request) ? containerName(request.name, "router") : undefined;
}

/** Builds the ops image when it is missing: every step can be run by itself, in any order. */
async function buildOpsImage(run: StepRun, tag: string): Promise<void> {
  const { name, environment } = run.request;
  const { build } = await import("./build.ts");
  await build(
    {
      contract: 1,
      name,
      environment,
      source: { kind: "bundled", image: "ops", digest: bundledImageDigest("ops") },
      dockerfile: "Dockerfile",
      tag,
    },
    run.context,
  );
}

/**
 * Runs a step to its end.
 * @returns the step's result, not yet validated.
 * @throws {StepFailed} when the step failed and has reported why; {StepError} when it could not even run.
 */
export async function runStep(run: StepRun): Promise<unknown> {
  const tag = bundledImageTag("ops");
  const joins = joined(run);
  let outcome = await attempt(run, tag, joins);
  if (outcome.exitCode === 125 && /no such image|unable to find image/i.test(outcome.dockerSaid)) {
    await buildOpsImage(run, tag);
    outcome = await attempt(run, tag, joins);
  }
  // The router may be restarting, or gone: the step itself waits for it, or reports that.
  if (outcome.exitCode === 125 && joins !== undefined && /container/i.test(outcome.dockerSaid))
    outcome = await attempt(run, tag, undefined);
  const { exitCode, stdout, dockerSaid } = outcome;
  if (exitCode === 0) {
    try {
      return JSON.parse(stdout);
    } catch (cause) {
      throw new StepError(
        `the step ${run.step} printed no JSON result, but ${JSON.stringify(run.redactor.text(stdout.slice(0, 200)))}`,
        { cause },
      );
    }
  }
  run.context.signal.throwIfAborted();
  if (exitCode === 125) throw startProblem(dockerSaid, run.request);
  if (exitCode === 137)
    throw new StepError(`the step ${run.step} was killed`, {
      hint: "journalctl -k | grep -i oom (on the Docker host): it may have run out of memory",
    });
  throw new StepFailed(exitCode);
}

function startProblem(dockerSaid: string, request: StepRequest<ContainerStep>): StepError {
  if (/network .* not found/i.test(dockerSaid) && "network" in request) {
    return new StepError(`the Docker network ${request.network} doesn't exist`, {
      hint: "pulumi up makes it; a network that was removed by hand: pulumi refresh, then pulumi up",
    });
  }
  return dockerProblem(dockerSaid);
}
