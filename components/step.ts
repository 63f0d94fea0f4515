import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";
import { contract, type OwnRequest, type StepName, type StepResult } from "../ops/contract/steps.ts";
import type { StepResource } from "../ops/contract/step.ts";
import type { HostContext } from "./host.ts";

/** A step's own fields of its request; values may be outputs of other resources. */
export type StepInputs<S extends StepName> = { [K in keyof OwnRequest<S>]: pulumi.Input<OwnRequest<S>[K]> };

/** The arguments of a step's resource. */
export interface StepArgs<S extends StepName> {
  context: HostContext;
  /**
   * The step's request without the fields of the context. The order of its keys is part of people's states: another
   * order runs the step again.
   */
  request: StepInputs<S>;
  /** Secrets by environment variable, never part of the request. */
  secrets?: Record<string, pulumi.Input<string>>;
  /**
   * Differences found on the host: the step runs because of them, though its request is the one of its last success.
   * Undefined: nothing to do, and the text of an earlier run stays in the state, so that its end is no change. A
   * missing property would not do: it would be a difference again once all is well.
   */
  found?: string | undefined;
}

/** A step of `ops` as a resource: it runs when its request or secrets change, and again until it succeeds. */
export interface Step<S extends StepName> {
  /** The resource that others depend on. */
  command: command.local.Command;
  /** Unknown in a preview in which the step would run. */
  result: pulumi.Output<StepResult<S>>;
}

/** The variable with `found`. No step reads it. */
const foundVariable = "TOGATHER_FOUND";

/**
 * A step's resource in the graph.
 * @throws for a step that the program never runs.
 */
function resourceOf<S extends StepName>(step: S): StepResource<StepResult<S>> {
  const { resource } = contract[step];
  if (resource === undefined) throw new Error(`the step ${step} has no resource`);
  return resource as StepResource<StepResult<S>>;
}

/**
 * Declares a step as a part of a component. It has no `delete`: a snapshot, a migration or a switch is not undone when
 * it leaves the program. The command line is the same on every machine, so that state is not tied to the machine that
 * wrote it.
 * @param component the component's name.
 */
export function declareStep<S extends StepName>(
  component: string,
  step: S,
  args: StepArgs<S>,
  options: pulumi.CustomResourceOptions,
): Step<S> {
  const { context, request, secrets = {}, found } = args;
  const asked = {
    ...context.common,
    ...(contract[step].runs === "container" ? context.directories : {}),
    ...request,
  };
  const resource = new command.local.Command(
    `${component}-${resourceOf(step).part}`,
    {
      create: `node ops/main.ts ${step}`,
      environment: {
        TOGATHER_REQUEST: pulumi.jsonStringify(asked),
        ...(context.host === "" ? {} : { DOCKER_HOST: context.host }),
        ...(found === undefined ? {} : { [foundVariable]: found }),
        ...Object.fromEntries(Object.entries(secrets).map(([name, value]) => [name, pulumi.secret(value)])),
      },
      logging: command.local.Logging.Stderr,
    },
    found === undefined && "found" in args ? { ...options, ignoreChanges: [`environment.${foundVariable}`] } : options,
  );
  // A step's result never contains a secret (its client redacts), though its environment does.
  const result = pulumi.unsecret(resource.stdout).apply((text) => JSON.parse(text) as StepResult<S>);
  return { command: resource, result };
}

/** A step as a component: its request in, its result out. ops/contract/steps/ describes each of them. */
export class StepComponent<S extends StepName> extends pulumi.ComponentResource {
  /** Unknown in a preview in which the step would run. */
  readonly result: pulumi.Output<StepResult<S>>;

  constructor(step: S, name: string, args: StepArgs<S>, opts?: pulumi.ComponentResourceOptions) {
    const {
      components: [component],
      outputs = {},
    } = resourceOf(step);
    super(`togather:deployment:${component}`, name, {}, opts);
    const { result } = declareStep(name, step, args, { parent: this, dependsOn: opts?.dependsOn });
    this.result = result;
    this.registerOutputs(
      Object.fromEntries(Object.entries(outputs).map(([output, field]) => [output, result.apply((all) => all[field])])),
    );
  }
}
