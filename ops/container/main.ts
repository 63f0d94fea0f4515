/** The program inside the ops container: `node main.js STEP` runs one step and prints one JSON result on stdout. */
import { join } from "node:path";
import { encodeQuestion, openChannel, type Stop } from "../contract/channel.ts";
import { runCommand } from "./steps/index.ts";
import { containerPaths, type CommandContext } from "../contract/context.ts";
import { contract, isContainerStep, type ContainerStep, type StepRequest, type StepResult } from "../contract/steps.ts";
import { endPhase, startPhase, type PhaseStart, type StepOf } from "./history/deployment.ts";
import { timestampOf } from "../contract/deployment-id.ts";
import { messageOf, RolledBackError, rolledBackExitCode, StepError } from "../contract/errors.ts";
import { tellOfFailure } from "./history/failure-command.ts";
import { createLog } from "../contract/log.ts";
import { openLogFile } from "./history/log-file.ts";
import { createRedactor } from "../contract/redact.ts";
import { StateStore } from "./history/state-store.ts";

const redactor = createRedactor(process.env);
const show = (line: string): void => {
  process.stderr.write(`${redactor.text(line)}\n`);
};

function readRequest<S extends ContainerStep>(step: S): StepRequest<S> {
  const parsed = contract[step].request.safeParse(JSON.parse(process.env["TOGATHER_REQUEST"] ?? "{}"));
  if (!parsed.success)
    throw new StepError(`this ops image doesn't understand the request for ${step}: ${parsed.error.message}`);
  return parsed.data as StepRequest<S>;
}

/** The signal that stops the step, with its reason. */
function stopSignal(stopped: Promise<Stop | undefined>): AbortSignal {
  const controller = new AbortController();
  const stop = (error: StepError): void => {
    if (!controller.signal.aborted) controller.abort(error);
  };
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.on(name, () => {
      stop(new Interrupted(`stopped by ${name}`));
    });
  }
  void stopped.then((reason) => {
    if (reason === undefined) stop(new Interrupted("stopped, because the client that started this step is gone"));
    else if (reason.interrupted === true) stop(new Interrupted(reason.message));
    else stop(new StepError(reason.message, reason.hint === undefined ? {} : { hint: reason.hint }));
  });
  return controller.signal;
}

/** A step that was stopped from outside. Not its own failure. */
class Interrupted extends StepError {}

/** The open deployment, or a new id for a step that belongs to none. */
async function findDeployment(store: StateStore, step: ContainerStep, now: Date): Promise<StepOf> {
  const current = await store.current();
  return current === undefined || current.status === "succeeded"
    ? { deploymentId: `${timestampOf(now)}_${step}`, open: false }
    : { deploymentId: current.deployment_id, open: true };
}

type OpenLog = ReturnType<typeof createLog>;

/** The deployment's log file beside the plain log; only the plain log where the file can't be opened. */
function openLogOf(step: ContainerStep, plain: OpenLog, verbose: boolean): (deploymentId: string) => OpenLog {
  return (deploymentId) => {
    try {
      const sink = openLogFile(join(containerPaths.logs, `${deploymentId}.log`), deploymentId, step);
      return createLog({ redactor, show, verbose, sink });
    } catch (error) {
      plain.warn(`the log file of ${deploymentId} can't be opened: ${messageOf(error)}`);
      return plain;
    }
  };
}

/**
 * Reports why a step failed, and records it where a deployment is open.
 * @returns the exit code.
 */
async function endFailed(
  error: unknown,
  { context, store, start, open }: { context: CommandContext; store: StateStore; start: PhaseStart; open: boolean },
): Promise<number> {
  const message = redactor.text(messageOf(error));
  const hint = error instanceof StepError ? error.hint : undefined;
  context.log.error(message, hint === undefined ? {} : { hint });
  if (!(error instanceof StepError) && error instanceof Error) context.log.debug(error.stack ?? "no stack");
  if (open) {
    await endPhase(store, start, { error: message, rolledBack: error instanceof RolledBackError }).catch(
      (failure: unknown) => {
        context.log.warn(`the failure could not be written to current.json: ${messageOf(failure)}`);
      },
    );
    // A person who has stopped the step knows about it.
    if (!(error instanceof Interrupted)) await tellOfFailure(store, context);
  }
  return error instanceof Interrupted ? 130 : error instanceof RolledBackError ? rolledBackExitCode : 1;
}

async function runStep<S extends ContainerStep>(step: S): Promise<StepResult<S>> {
  const startedAt = new Date();
  const request = readRequest(step);
  const channel = openChannel(process.stdin);
  const signal = stopSignal(channel.stopped);
  const store = new StateStore(containerPaths.state);

  const verbose = request.environment === "development";
  const plain = createLog({ redactor, show, verbose });
  /**
   * A step must not fail because its records can't be written: where the state's disk is full, a warning says so, and
   * traffic moves all the same.
   */
  const noted = async <T>(what: Promise<T>, otherwise: T): Promise<T> =>
    what.catch((error: unknown) => {
      plain.warn(
        `what is known about this deployment could not be read or written: ${messageOf(error)}`,
        error instanceof StepError && error.hint !== undefined ? { hint: error.hint } : {},
      );
      return otherwise;
    });
  const deployment = contract[step].writesHistory
    ? undefined
    : await noted(findDeployment(store, step, startedAt), {
        deploymentId: `${timestampOf(startedAt)}_${step}`,
        open: false,
      });
  const openLog = openLogOf(step, plain, verbose);
  const log = deployment === undefined ? undefined : openLog(deployment.deploymentId);
  const start = {
    step,
    startedAt,
    slot: "slot" in request ? request.slot : undefined,
    version: "release" in request ? request.release.version : undefined,
  };
  const context: CommandContext = {
    log: log ?? plain,
    signal,
    env: process.env,
    payload: () => channel.payload,
    paths: containerPaths,
    openLog,
    ask: (question) => {
      process.stdout.write(encodeQuestion(question));
      return channel.answer();
    },
  };
  try {
    if (deployment?.open === true) await noted(startPhase(store, start), undefined);
    const result = contract[step].result.parse(
      redactor.value(await runCommand(step, request, context)),
    ) as StepResult<S>;
    if (deployment?.open === true) await noted(endPhase(store, start, { result }), undefined);
    return result;
  } catch (caught) {
    // An aborted step may throw any error: the reason of the abort matters, unless traffic was rolled back because of
    // it.
    const error: unknown = signal.aborted && !(caught instanceof RolledBackError) ? signal.reason : caught;
    throw new Reported(await endFailed(error, { context, store, start, open: deployment?.open === true }));
  } finally {
    log?.close();
  }
}

/** An error that has been shown already. */
class Reported extends Error {
  readonly exitCode: number;
  constructor(exitCode: number) {
    super();
    this.exitCode = exitCode;
  }
}

async function main(): Promise<number> {
  const step = process.argv[2] ?? "";
  try {
    if (!isContainerStep(step))
      throw new StepError(
        `unknown step "${step}", expected one of ${Object.keys(contract).filter(isContainerStep).join(", ")}`,
      );
    const result = await runStep(step);
    process.stdout.write(`${JSON.stringify(result)}\n`);
    return 0;
  } catch (error) {
    if (error instanceof Reported) return error.exitCode;
    show(
      error instanceof StepError
        ? error.message
        : error instanceof Error
          ? (error.stack ?? error.message)
          : String(error),
    );
    return 1;
  }
}

// The client keeps stdin open while the step runs: without this the process would never end by itself.
void main().then((exitCode) => process.exit(exitCode));
