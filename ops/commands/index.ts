/** The steps that run in the ops container, by name. `build` and `router` are the client's own. */
import type { StepContext, StepLog } from "../context.ts";
import type { StepName, StepRequest, StepResult } from "../contract.ts";
import { run as begin } from "./begin.ts";
import { run as database } from "./database.ts";
import { run as discard } from "./discard.ts";
import { run as gate } from "./gate.ts";
import { run as migrate } from "./migrate.ts";
import { run as record } from "./record.ts";
import { run as restore } from "./restore.ts";
import { run as snapshot } from "./snapshot.ts";
import { run as switchTraffic } from "./switch.ts";
import { run as verify } from "./verify.ts";

export type ContainerStep = Exclude<StepName, "build" | "router" | "prune">;
export interface CommandContext extends StepContext {
  /** For `begin` and `record`, which decide themselves whose log they write. */
  openLog: (deploymentId: string) => StepLog & { close(): void };
}
type Command<S extends ContainerStep> = (request: StepRequest<S>, context: CommandContext) => Promise<StepResult<S>>;

const typed: { readonly [S in ContainerStep]: Command<S> } = { begin, database, snapshot, verify, restore, discard, migrate, gate, switch: switchTraffic, record };
/** The same for a caller that knows the step's name only when it runs. */
export const commands: Readonly<Record<ContainerStep, (request: never, context: CommandContext) => Promise<unknown>>> = typed;

export function isContainerStep(name: string): name is ContainerStep {
  return Object.hasOwn(typed, name);
}
