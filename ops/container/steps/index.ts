/** Programs of the steps that run in the ops container, by name. */
import type { CommandContext } from "../../contract/context.ts";
import type { ContainerStep, StepRequest, StepResult } from "../../contract/steps.ts";

type Command<S extends ContainerStep> = (request: StepRequest<S>, context: CommandContext) => Promise<StepResult<S>>;

// Each module is loaded when it runs: a switch, for example, does not wait for PostgreSQL's client to load.
const modules: { readonly [S in ContainerStep]: () => Promise<{ run: Command<S> }> } = {
  begin: () => import("./begin.ts"),
  database: () => import("./database.ts"),
  snapshot: () => import("./snapshot.ts"),
  verify: () => import("./verify.ts"),
  copy: () => import("./copy.ts"),
  fetch: () => import("./fetch.ts"),
  rehearse: () => import("./rehearse.ts"),
  restore: () => import("./restore.ts"),
  discard: () => import("./discard.ts"),
  migrate: () => import("./migrate.ts"),
  gate: () => import("./gate.ts"),
  task: () => import("./task.ts"),
  switch: () => import("./switch.ts"),
  record: () => import("./record.ts"),
  fail: () => import("./fail.ts"),
};
/** Runs a step; its request has been read by the contract. */
export async function runCommand<S extends ContainerStep>(
  step: S,
  request: StepRequest<S>,
  context: CommandContext,
): Promise<StepResult<S>> {
  const { run } = await modules[step]();
  return run(request, context);
}
