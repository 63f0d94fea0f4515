import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import type { StepName, StepRequest, StepResult } from "../ops/contract/steps.ts";

/** A request whose values may be outputs of other resources. */
export type StepInputs<S extends StepName> = { [K in keyof StepRequest<S>]: pulumi.Input<StepRequest<S>[K]> };

/** A step of `ops` as a resource: it runs when its request or secrets change, and again until it succeeds. */
export interface Step<S extends StepName> {
  /** What others depend on. */
  command: command.local.Command;
  /** Unknown in a preview in which the step would run. */
  result: pulumi.Output<StepResult<S>>;
}

/** What reaches a step beside its request. */
export interface StepEnvironment {
  /** Docker host; the local engine when empty. */
  host: string;
  /** Secrets by environment variable, never part of the request. */
  secrets?: Record<string, pulumi.Input<string>>;
  /**
   * What was found on the host that is not as it is wanted: the step runs because of it, though its request is the one of
   * its last success. Undefined: nothing to do, and what an earlier run found stays in the state, so that its end is no change.
   * A property that is left out could not do that: it would be a difference again once all is well.
   */
  found?: string | undefined;
}

/** Carries `found`. No step reads it. */
const foundVariable = "TOGATHER_FOUND";

/**
 * Declares a step. It has no `delete`: a snapshot, a migration or a switch is not undone when it leaves the program.
 * The command line is the same on every machine, so that state is not tied to the machine that wrote it.
 */
export function declareStep<S extends StepName>(
  resourceName: string,
  step: S,
  request: StepInputs<S>,
  environment: StepEnvironment,
  options: pulumi.CustomResourceOptions,
): Step<S> {
  const secrets = Object.fromEntries(
    Object.entries(environment.secrets ?? {}).map(([name, value]) => [name, pulumi.secret(value)]),
  );
  const watched = "found" in environment;
  const resource = new command.local.Command(
    resourceName,
    {
      create: `node ops/main.ts ${step}`,
      environment: {
        TOGATHER_REQUEST: pulumi.jsonStringify(request),
        ...(environment.host === "" ? {} : { DOCKER_HOST: environment.host }),
        ...(environment.found === undefined ? {} : { [foundVariable]: environment.found }),
        ...secrets,
      },
      logging: command.local.Logging.Stderr,
    },
    environment.found === undefined && watched
      ? { ...options, ignoreChanges: [`environment.${foundVariable}`] }
      : options,
  );
  // A step's result never holds a secret (its client redacts), though its environment does.
  const result = pulumi.unsecret(resource.stdout).apply((text) => JSON.parse(text) as StepResult<S>);
  return { command: resource, result };
}
