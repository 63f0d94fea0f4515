/** The client's own part in steps that run in the `ops` container: most steps need none. */
import { knownQuestionSchema, recentQuestionSchema } from "../contract/questions.ts";
import { contract, type ContainerStep, type StepRequest, type StepResult } from "../contract/steps.ts";
import { runStep, type StepRun } from "./run-step.ts";

type Part<S extends ContainerStep> = (run: StepRun<StepRequest<S>>) => Promise<unknown>;

/** A container that exits has failed its gate. One that was stopped, and should stay so, is not asked. */
const gate: Part<"gate"> = async (run) => {
  const { request, context, redactor } = run;
  const { seeToStopped, watchContainer } = await import("./gate.ts");
  if ((await seeToStopped(request, context)) === "stays") {
    const notAsked = "not asked, it is stopped";
    const checks = { database: notAsked, migrations: notAsked, http: notAsked, jobs: notAsked };
    return { attempts: 0, durationMs: 0, checks };
  }
  return runStep({ ...run, watch: (signal) => watchContainer(request, redactor, signal) });
};

/** The output of a step's last run, from Pulumi's command provider. Undefined: it runs for the first time. */
function previousResult(env: NodeJS.ProcessEnv): StepResult<"snapshot"> | undefined {
  try {
    return contract.snapshot.result.parse(JSON.parse(env["PULUMI_COMMAND_STDOUT"] ?? ""));
  } catch {
    return undefined;
  }
}
const snapshot: Part<"snapshot"> = (run) =>
  runStep({ ...run, request: { ...run.request, previous: previousResult(run.context.env) } });

/** The release's files are sent along. */
const migrate: Part<"migrate"> = async (run) => {
  const { request, context } = run;
  const [{ migrationPayload }, { slotMigrations }] = await Promise.all([
    import("./migrate.ts"),
    import("./slot-migrations.ts"),
  ]);
  const payload = await migrationPayload(request, context.signal);
  // The file that is being applied must end first: killing it would leave an unknown schema.
  const stopMs = request.statementTimeoutMs + run.stopMs;
  return runStep({ ...run, payload, stopMs, answer: () => slotMigrations(request) });
};

/**
 * The release's files are sent along; on the step's request, the release that serves is started once more, and tasks
 * are run.
 */
const rehearse: Part<"rehearse"> = async (run) => {
  const { request, context } = run;
  const [{ migrationPayload }, { ServingRelease }, { slotMigrations }] = await Promise.all([
    import("./migrate.ts"),
    import("./serving-release.ts"),
    import("./slot-migrations.ts"),
  ]);
  const payload = await migrationPayload({ source: request.source, lint: "off" }, context.signal);
  const serving = new ServingRelease(request, context);
  const answer = (question: unknown): Promise<unknown> =>
    knownQuestionSchema.safeParse(question).success ? slotMigrations(request) : serving.answer(question);
  if (request.tasks === undefined) {
    try {
      return await runStep({ ...run, payload, answer });
    } finally {
      await serving.remove();
    }
  }
  const { TaskContainer, partsOfRelease, isTaskQuestion } = await import("./task-container.ts");
  const task = new TaskContainer(request, context, partsOfRelease(request.tasks, context.env));
  try {
    return await runStep({
      ...run,
      payload,
      answer: (question) => (isTaskQuestion(question) ? task.answer(question) : answer(question)),
    });
  } finally {
    await Promise.all([task.end(), serving.remove()]);
  }
};

/** The step gets the fingerprints of the slots' containers; tasks are run on its request. */
const withTasks = async (run: StepRun<StepRequest<"switch"> | StepRequest<"task">>): Promise<unknown> => {
  const { request, context } = run;
  const [{ containerPrints }, { printsVariable }] = await Promise.all([
    import("../host/container-prints.ts"),
    import("../contract/slot-file.ts"),
  ]);
  const prints = await containerPrints(request, context.signal);
  const withPrints = { ...run, environment: { [printsVariable]: JSON.stringify(prints) } };
  const others = async (question: unknown): Promise<unknown> => {
    const { recentRequests } = await import("./recent-requests.ts");
    return recentRequests(recentQuestionSchema.parse(question), request, context.signal);
  };
  // A switch without tasks does not wait for anything.
  if (!("task" in request) && request.tasks === undefined) return runStep({ ...withPrints, answer: others });
  const { isTaskQuestion, TaskContainer } = await import("./task-container.ts");
  const task = new TaskContainer(request, context);
  task.clear();
  try {
    return await runStep({
      ...withPrints,
      answer: (question) => (isTaskQuestion(question) ? task.answer(question) : others(question)),
    });
  } finally {
    await task.end();
  }
};

/** The step gets the name of the person who deploys. */
const record: Part<"record"> = async (run) => {
  const { deployedBy } = await import("../host/deployed-by.ts");
  return runStep({ ...run, environment: { TOGATHER_DEPLOYED_BY: deployedBy(run.context.env) } });
};

const parts: { readonly [S in ContainerStep]?: Part<S> } = {
  gate,
  snapshot,
  migrate,
  rehearse,
  switch: withTasks,
  task: withTasks,
  record,
};

/** Runs a step in the `ops` container, with the client's part in it. */
export function runInContainer<S extends ContainerStep>(run: StepRun<StepRequest<S>> & { step: S }): Promise<unknown> {
  const part = parts[run.step];
  return part === undefined ? runStep(run) : part(run);
}
