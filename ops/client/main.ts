/** The client of all steps: reads the request, runs the step, most often in a container, prints its result. */
import { knownQuestionSchema } from "../contract/questions.ts";
import { createLog } from "../contract/log.ts";
import { containerPaths, type StepContext } from "../contract/context.ts";
import { contract, type StepName, type StepRequest, type StepResult } from "../contract/steps.ts";
import { messageOf, StepError } from "../contract/errors.ts";
import { createRedactor } from "../contract/redact.ts";
import { runStep, StepFailed, type StepRun } from "./run-step.ts";
import { createShown } from "./shown.ts";

const redactor = createRedactor(process.env);
/** How long a step may take to stop by itself. */
const stopMs = 10_000;

const shown = createShown((text) => process.stderr.write(text));
const show = shown.line;

function isStep(name: string): name is StepName {
  return Object.hasOwn(contract, name);
}

function readRequest(step: StepName): StepRequest<StepName> {
  const text = process.env["TOGATHER_REQUEST"];
  if (text === undefined || text === "")
    throw new StepError("TOGATHER_REQUEST is not set", {
      hint: `TOGATHER_REQUEST='{"contract":1,…}' node ops/main.ts ${step}; ops/contract/steps.ts has the fields`,
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
  throw new StepError(`the request for ${step} is not as ops/contract/steps.ts has it:\n${problems.join("\n")}`);
}

/** What a step printed when it ran last; undefined when it runs for the first time. Pulumi's command provider tells it so. */
function previousResult<S extends StepName>(step: S, env: NodeJS.ProcessEnv): StepResult<S> | undefined {
  try {
    return contract[step].result.parse(JSON.parse(env["PULUMI_COMMAND_STDOUT"] ?? "")) as StepResult<S>;
  } catch {
    return undefined;
  }
}

/** One abort, whatever asks for it first. */
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

/** The container in whose network namespace a step runs: the router's, for the steps that a rollback waits for, and that talk to the router alone or to nobody. */
function namespaceOf(step: StepName, request: StepRequest<StepName>): string | undefined {
  const router = `togather-${request.name}-router`;
  if (step === "begin" || step === "record") return router;
  if (step !== "switch") return undefined;
  const {
    rollout: { steps, bakeMs },
    tasks,
  } = request as StepRequest<"switch">;
  // While a release is watched, or a task runs, the router may be restarted, and its namespace with it.
  return steps.length === 0 && bakeMs === 0 && tasks === undefined ? router : undefined;
}

async function runInContainer(step: StepName, request: StepRequest<StepName>, context: StepContext): Promise<unknown> {
  const run: StepRun = {
    step,
    request: request as StepRun["request"],
    context,
    redactor,
    show,
    stopMs,
    joins: namespaceOf(step, request),
  };
  switch (step) {
    case "gate": {
      const { seeToStopped, watchContainer } = await import("./gate.ts");
      if ((await seeToStopped(request as StepRequest<"gate">, context)) === "stays") {
        const notAsked = "not asked, it is stopped";
        return {
          attempts: 0,
          durationMs: 0,
          checks: { database: notAsked, migrations: notAsked, http: notAsked, jobs: notAsked },
        };
      }
      return runStep({ ...run, watch: (signal) => watchContainer(request as StepRequest<"gate">, redactor, signal) });
    }
    case "snapshot": {
      const withPrevious = { ...run.request, previous: previousResult("snapshot", context.env) };
      return runStep({ ...run, request: withPrevious });
    }
    case "migrate": {
      const migration = request as StepRequest<"migrate">;
      const [{ migrationPayload }, { slotMigrations }] = await Promise.all([
        import("./migrate.ts"),
        import("./slot-migrations.ts"),
      ]);
      const payload = await migrationPayload(migration, context.signal);
      // The file that is being applied ends first: killing it would leave a schema that nobody knows.
      return runStep({
        ...run,
        payload,
        stopMs: migration.statementTimeoutMs + stopMs,
        answer: () => slotMigrations(migration),
      });
    }
    case "rehearse": {
      const rehearsal = request as StepRequest<"rehearse">;
      const [{ migrationPayload }, { ServingRelease }, { slotMigrations }] = await Promise.all([
        import("./migrate.ts"),
        import("./serving-release.ts"),
        import("./slot-migrations.ts"),
      ]);
      const payload = await migrationPayload({ source: rehearsal.source, lint: "off" }, context.signal);
      const serving = new ServingRelease(rehearsal, context);
      const answer = (question: unknown): Promise<unknown> =>
        knownQuestionSchema.safeParse(question).success ? slotMigrations(rehearsal) : serving.answer(question);
      if (rehearsal.tasks === undefined) {
        try {
          return await runStep({ ...run, payload, answer });
        } finally {
          await serving.remove();
        }
      }
      const { TaskContainer, partsOfRelease, isTaskQuestion } = await import("./task-container.ts");
      const task = new TaskContainer(rehearsal, context, partsOfRelease(rehearsal.tasks, context.env));
      try {
        return await runStep({
          ...run,
          payload,
          answer: (question) => (isTaskQuestion(question) ? task.answer(question) : answer(question)),
        });
      } finally {
        await Promise.all([task.end(), serving.remove()]);
      }
    }
    case "switch":
    case "task": {
      const [{ containerPrints }, { printsVariable }] = await Promise.all([
        import("../host/container-prints.ts"),
        import("../contract/slot-file.ts"),
      ]);
      const withPrints = {
        ...run,
        environment: { [printsVariable]: JSON.stringify(await containerPrints(run.request, context.signal)) },
      };
      // A switch that runs none waits for nothing.
      if (step === "switch" && (request as StepRequest<"switch">).tasks === undefined) return runStep(withPrints);
      const { TaskContainer } = await import("./task-container.ts");
      const task = new TaskContainer(request, context);
      task.clear();
      try {
        return await runStep({ ...withPrints, answer: (question) => task.answer(question) });
      } finally {
        await task.end();
      }
    }
    case "record": {
      const { deployedBy } = await import("../host/deployed-by.ts");
      return runStep({ ...run, environment: { TOGATHER_DEPLOYED_BY: deployedBy(context.env) } });
    }
    default:
      return runStep(run);
  }
}

/** Runs the step that the command line names; returns the exit code. */
export async function main(): Promise<number> {
  const exitCode = await runNamedStep();
  shown.end(exitCode !== 0);
  return exitCode;
}

async function runNamedStep(): Promise<number> {
  const signal = abortOnSignals();
  /** Writes down what no step in a container has. */
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
    let result: unknown;
    if (step === "build") result = await (await import("./build.ts")).build(request as StepRequest<"build">, context);
    else if (step === "router")
      result = await (await import("./router.ts")).run(request as StepRequest<"router">, context);
    else if (step === "standby")
      result = await (await import("./standby.ts")).run(request as StepRequest<"standby">, context);
    else if (step === "prune")
      result = await (await import("./prune.ts")).run(request as StepRequest<"prune">, context);
    else if (step === "develop")
      result = await (await import("./develop.ts")).run(request as StepRequest<"develop">, context);
    else result = await runInContainer(step, request, context);
    process.stdout.write(`${JSON.stringify(contract[step].result.parse(redactor.value(result)))}\n`);
    return 0;
  } catch (error) {
    if (signal.aborted) return 130;
    if (error instanceof StepFailed) return error.exitCode;
    // A stack trace only for what nobody expected.
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
