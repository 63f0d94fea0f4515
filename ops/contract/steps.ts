/**
 * The registry of steps: the contract between the stack's components and `ops`, the program that touches the host and
 * the database. A component puts a request into the environment variable TOGATHER_REQUEST of a `command.local.Command`;
 * the command prints one JSON result on stdout and progress on stderr. Secrets are never part of a request: they are
 * passed as separate environment variables (see `SECRET_VARIABLES`).
 * Every step is idempotent: run twice with the same request, it converges on the same state. Its definition, in steps/
 * by subject, is all that others need: types, loaders, mounts, phases, exit codes and the tests' harness are derived
 * from it.
 */
import type * as z from "zod";
import type { StepDefinition } from "./step.ts";
import { databaseSteps } from "./steps/database.ts";
import { historySteps } from "./steps/history.ts";
import { imageSteps } from "./steps/images.ts";
import { migrationSteps } from "./steps/migrations.ts";
import { releaseSteps } from "./steps/release.ts";
import { snapshotSteps } from "./steps/snapshots.ts";
import { trafficSteps } from "./steps/traffic.ts";

export { SECRET_VARIABLES, SERVER_ENVIRONMENT } from "./secrets.ts";
export { releaseSchema, slotNames, slotNameSchema, type Release, type SlotName } from "./slots.ts";
export { CONTRACT_VERSION } from "./step.ts";
export { gateCheckNames, type EndpointCheck, type Task } from "./steps/release.ts";
export { standbyModes, type Rollout, type StandbyMode } from "./steps/traffic.ts";

/** Every step with its definition. */
export const contract = {
  ...imageSteps,
  ...historySteps,
  ...databaseSteps,
  ...snapshotSteps,
  ...migrationSteps,
  ...releaseSteps,
  ...trafficSteps,
};
type Contract = typeof contract;
export type StepName = keyof Contract;
/** The steps that run in the `ops` container. */
export type ContainerStep = { [S in StepName]: Contract[S] extends StepDefinition<"container"> ? S : never }[StepName];
/** The steps that run on the operator's machine. */
export type ClientStep = Exclude<StepName, ContainerStep>;
export type StepRequest<S extends StepName> = z.infer<Contract[S]["request"]>;
export type StepResult<S extends StepName> = z.infer<Contract[S]["result"]>;

/** Fields of requests that are the same for every step of a deployment, where a step has them. */
type Given = "contract" | "name" | "environment" | "stateLocation" | "logLocation";
/** A request without the fields that every step of a deployment gets. */
export type OwnRequest<S extends StepName> = Omit<StepRequest<S>, Given>;

export function isStep(name: string): name is StepName {
  return Object.hasOwn(contract, name);
}

export function isContainerStep(name: string): name is ContainerStep {
  return isStep(name) && contract[name].runs === "container";
}
