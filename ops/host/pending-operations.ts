/**
 * Pending operations in a stack's state, read from `pulumi stack export`: a killed run of Pulumi began them, and nobody
 * knows whether they were done.
 */
import * as z from "zod";

const resourceSchema = z.looseObject({
  urn: z.string(),
  type: z.string(),
  id: z.string().optional(),
  inputs: z.record(z.string(), z.unknown()).optional(),
});
const exportSchema = z.looseObject({
  deployment: z
    .looseObject({
      resources: z.array(resourceSchema).nullish(),
      pending_operations: z.array(z.looseObject({ resource: resourceSchema, type: z.string() })).nullish(),
    })
    .nullish(),
});

const containerType = "docker:index/container:Container";

/** An operation that was begun and whose end was never recorded. */
export interface PendingOperation {
  /** Pulumi's name of it: creating, updating, deleting, reading, importing. */
  operation: string;
  urn: string;
  type: string;
  /** The `name` of the resource, where it has one in plain text. */
  name: string | undefined;
}

/** The parts of a stack's state that matter after a killed run. */
export interface InterruptedState {
  pending: PendingOperation[];
  /** Ids of the resources in the state. */
  ids: ReadonlySet<string>;
  /** Names of the containers in the state. */
  containers: readonly string[];
  /** Their Docker host. Undefined: this machine's engine. */
  dockerHost: string | undefined;
  /**
   * Names of containers that did not run when Pulumi read them: Docker reports no ports then. The state has none, and
   * the containers would be replaced once they run again.
   */
  unread: readonly string[];
}

function nameOf(inputs: Record<string, unknown> | undefined): string | undefined {
  const name = inputs?.["name"];
  return typeof name === "string" ? name : undefined;
}

/**
 * Whether a resource is a container that did not run when Pulumi read it. A slot's container may be stopped at any
 * time, and keeps its ports.
 */
export function isUnread({
  type,
  inputs = {},
}: {
  type: string;
  inputs?: Record<string, unknown> | undefined;
}): boolean {
  const { ports, mustRun } = inputs;
  return (
    type === containerType && mustRun === false && (ports === undefined || (Array.isArray(ports) && ports.length === 0))
  );
}

/**
 * Parses an export.
 * @throws when it is none.
 */
export function readInterruptedState(exported: string): InterruptedState {
  const { deployment } = exportSchema.parse(JSON.parse(exported));
  const pending = (deployment?.pending_operations ?? []).map(({ resource: { urn, type, inputs }, type: operation }) => {
    return { operation, urn, type, name: nameOf(inputs) };
  });
  const resources = deployment?.resources ?? [];
  const containers = resources
    .filter(({ type }) => type === containerType)
    .flatMap(({ inputs }) => nameOf(inputs) ?? []);
  const dockerHost = resources.find(({ type }) => type === "pulumi:providers:docker")?.inputs?.["host"];
  const unread = resources.flatMap((one) => (isUnread(one) ? (nameOf(one.inputs) ?? []) : []));
  return {
    pending,
    ids: new Set(resources.flatMap(({ id }) => id ?? [])),
    containers,
    dockerHost: typeof dockerHost === "string" ? dockerHost : undefined,
    unread,
  };
}

/** The last part of a URN: the resource's name in the program. */
export const resourceName = (urn: string): string => urn.slice(urn.lastIndexOf("::") + 2);
