/** The client of all steps: reads the request, runs the step, usually in a container, and prints its result. */
import { createLog } from "../contract/log.ts";
import { containerPaths, type StepContext } from "../contract/context.ts";
import {
  contract,
  isContainerStep,
  isStep,
  type ClientStep,
  type ContainerStep,
  type StepName,
  type StepRequest,
} from "../contract/steps.ts";
import { messageOf, StepError } from "../contract/errors.ts";
import { createRedactor } from "../contract/redact.ts";
import { runInContainer } from "./client-parts.ts";
import { runOnThisMachine } from "./client-steps.ts";
import { StepFailed } from "./run-step.ts";
import { createShown } from "./shown.ts";

const redactor = createRedactor(process.env);
/** Time that a step has to stop by itself, in ms. */
const stopMs = 10_000;

const shown = createShown((text) => process.stderr.write(text));
const show = shown.line;

function readRequest(step: StepName): StepRequest<StepName> {
  const text = process.env["TOGATHER_REQUEST"];
  if (text === undefined || text === "")
    throw new StepError("TOGATHER_REQUEST is not set", {
      hint: `TOGATHER_REQUEST='{"contract":1,…}' node ops/main.ts ${step}; ops/contract/steps/ has the fields`,
    });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new StepError(`TOGATHER_REQUEST is no JSON: ${messageOf(cause)}`, { cause });
  }
  const parsed = contract[step].request.safeParse(json);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => `  ${issue.path.join(".") || "(request)"}: ${issue.message}`);
  throw new StepError(`the request for ${step} is not as ops/contract/steps/ has it:\n${problems.join("\n")}`);
}

/** One abort signal for all reasons to stop. */
function abortOnSignals(): AbortSignal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(name, () => {
      if (!controller.signal.aborted) show(`${name}: stopping`);
      controller.abort(new StepError(`stopped by ${name}`));
    });
  }
  return controller.signal;
}

/** Runs the step that the command line names; returns the exit code. */
export async function main(): Promise<number> {
  const exitCode = await runNamedStep();
  shown.end(exitCode !== 0);
  return exitCode;
}

async function runNamedStep(): Promise<number> {
  const signal = abortOnSignals();
  /** Records a failure that no step in a container has recorded. */
  let note: ((error: string) => Promise<void>) | undefined;
  try {
    const step = process.argv[2] ?? "";
    if (!isStep(step))
      throw new StepError(`unknown step "${step}", expected one of ${Object.keys(contract).join(", ")}`);
    const request = readRequest(step);
    const log = createLog({ redactor, show, verbose: request.environment === "development" && step !== "build" });
    const context: StepContext = {
      log,
      signal,
      env: process.env,
      payload: () => Promise.resolve(Buffer.alloc(0)),
      paths: containerPaths,
    };
    note = async (error) =>
      (await import("./note-failure.ts")).noteFailure(step, request, error, { context, redactor, show });
    const result: unknown = isContainerStep(step)
      ? await runInContainer({ step, request: request as StepRequest<ContainerStep>, context, redactor, show, stopMs })
      : await runOnThisMachine(step, request as StepRequest<ClientStep>, context);
    process.stdout.write(`${JSON.stringify(contract[step].result.parse(redactor.value(result)))}\n`);
    return 0;
  } catch (error) {
    if (signal.aborted) return 130;
    if (error instanceof StepFailed) return error.exitCode;
    // A stack trace only for unexpected errors.
    const text =
      error instanceof StepError
        ? error.message
        : error instanceof Error
          ? (error.stack ?? error.message)
          : String(error);
    show(redactor.text(`error: ${text}`));
    if (error instanceof StepError && error.hint !== undefined) show(redactor.text(`  → ${error.hint}`));
    await note?.(messageOf(error)).catch(() => undefined);
    return 1;
  }
}
