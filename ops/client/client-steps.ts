/** The steps that run on this machine, with its Docker client. Each is loaded when it runs. */
import type { StepContext } from "../contract/context.ts";
import type { ClientStep, StepRequest, StepResult } from "../contract/steps.ts";

type Run<S extends ClientStep> = (request: StepRequest<S>, context: StepContext) => Promise<StepResult<S>>;

const modules: { readonly [S in ClientStep]: () => Promise<{ run: Run<S> }> } = {
  build: async () => ({ run: (await import("./build.ts")).build }),
  router: () => import("./router.ts"),
  standby: () => import("./standby.ts"),
  prune: () => import("./prune.ts"),
  develop: () => import("./develop.ts"),
};

/** Runs a step; its request has been read by the contract. */
export async function runOnThisMachine<S extends ClientStep>(
  step: S,
  request: StepRequest<S>,
  context: StepContext,
): Promise<StepResult<S>> {
  const { run } = await modules[step]();
  return run(request, context);
}
