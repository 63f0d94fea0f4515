/**
 * Adds running objects of a Docker host to a Pulumi state that was lost, or is older than they are: the resources that
 * a preview would create, with the ids of existing objects of the same names. A refresh then reads their real
 * properties: differences from the stack file show as changes. Steps are not imported: they run again, and do nothing
 * where nothing needs to be done.
 */
import { randomUUID } from "node:crypto";
import * as z from "zod";
import { Failure } from "../failure.ts";

const stateSchema = z.looseObject({
  urn: z.string(),
  type: z.string(),
  custom: z.boolean().default(false),
  id: z.string().optional(),
  inputs: z.record(z.string(), z.unknown()).optional(),
  parent: z.string().optional(),
  provider: z.string().optional(),
  dependencies: z.array(z.string()).optional(),
  propertyDependencies: z.record(z.string(), z.array(z.string()).nullable()).optional(),
  deletedWith: z.string().optional(),
});
type State = z.infer<typeof stateSchema>;

const exportSchema = z.looseObject({
  deployment: z.looseObject({ resources: z.array(stateSchema).nullish() }).nullish(),
});
const previewSchema = z.looseObject({
  steps: z.array(z.looseObject({ op: z.string(), newState: stateSchema.optional() })).nullish(),
});

/**
 * Resources that a preview would create, in order of creation.
 * @param preview output of `pulumi preview --json`.
 */
export function plannedCreations(preview: string): State[] {
  const { steps } = previewSchema.parse(JSON.parse(preview.slice(preview.indexOf("{"))));
  return (steps ?? []).flatMap(({ op, newState }) => (op === "create" && newState !== undefined ? [newState] : []));
}

/** A container on the Docker host. */
export interface FoundContainer {
  id: string;
  /** The image that it was created from. */
  imageId: string;
  /** Environment beyond its image's, `NAME=value`. Secret. */
  env: string[];
  labels: Readonly<Record<string, string>>;
}

/** Containers and networks in a state. It may be an older copy, with ids of objects that have been replaced since. */
export function knownThings(exported: string): State[] {
  const { deployment } = exportSchema.parse(JSON.parse(exported));
  return (deployment?.resources ?? []).filter(isThing);
}

const isThing = ({ type, custom }: State): boolean => custom && (type === containerType || type === networkType);

/** Existing objects by name. */
export interface FoundOnHost {
  containers: ReadonlyMap<string, FoundContainer>;
  /** Ids of networks. */
  networks: ReadonlyMap<string, string>;
  roles: ReadonlySet<string>;
  databases: ReadonlySet<string>;
}

/** Pulumi's placeholder in a preview for a value that is not known yet. */
const unknownValue = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
const secretValue = "[secret]";

const containerType = "docker:index/container:Container";
const networkType = "docker:index/network:Network";
const roleType = "postgresql:index/role:Role";
const databaseType = "postgresql:index/database:Database";
const isProvider = (type: string): boolean => type.startsWith("pulumi:providers:");

/** A secret in the form that `pulumi stack import` encrypts. */
const secret = (value: unknown): Record<string, string> => ({
  "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
  plaintext: JSON.stringify(value),
});

/** The names with which a creation would collide with existing objects. */
export function namesOf(planned: readonly State[]): { containers: string[]; networks: string[]; inDatabase: boolean } {
  const named = (type: string): string[] =>
    planned.filter((one) => one.type === type).flatMap(({ inputs }) => nameOf(inputs) ?? []);
  return {
    containers: named(containerType),
    networks: named(networkType),
    inDatabase: planned.some(({ type }) => type === roleType || type === databaseType),
  };
}

function nameOf(inputs: State["inputs"]): string | undefined {
  const name = inputs?.["name"];
  return typeof name === "string" ? name : undefined;
}

const labelsSchema = z.array(z.looseObject({ label: z.string(), value: z.string() }));

/** The labels with the values that a container has; unchanged where they can't be read. */
function realLabels(wanted: unknown, has: FoundContainer["labels"]): unknown {
  const { data } = labelsSchema.safeParse(wanted);
  return data?.map((one) => ({ ...one, value: has[one.label] ?? one.value })) ?? wanted;
}

/**
 * The id and inputs of a creation whose object exists already. Undefined: it does not exist, or creating it again is no
 * error.
 */
function found(
  { type, inputs = {} }: State,
  { containers, networks, roles, databases }: FoundOnHost,
): (Required<Pick<State, "id" | "inputs">> & { outputs?: State["inputs"] }) | undefined {
  const name = nameOf(inputs);
  if (name === undefined) return undefined;
  if (type === networkType) {
    const id = networks.get(name);
    return id === undefined ? undefined : { id, inputs };
  }
  if (type === containerType) {
    const there = containers.get(name);
    if (there === undefined) return undefined;
    const { id, imageId, env } = there;
    const envs = secret(env);
    const real = {
      ...inputs,
      image: imageId,
      ...(inputs["envs"] === undefined ? {} : { envs }),
      ...(inputs["labels"] === undefined ? {} : { labels: realLabels(inputs["labels"], there.labels) }),
    };
    // A refresh reads no empty environment: it would be unknown, and replace the container.
    return { id, inputs: real, outputs: { ...real, envs: env.length === 0 ? [] : envs } };
  }
  if ((type === roleType && roles.has(name)) || (type === databaseType && databases.has(name))) {
    // The next `up` sets the password again, to the same value.
    const plain = Object.entries(inputs).filter(([, value]) => value !== secretValue);
    return { id: name, inputs: Object.fromEntries(plain) };
  }
  return undefined;
}

/** A state with imported objects. */
export interface Imported {
  /** The new state, for `pulumi stack import`. Secrets that the state did not have are in plain text in it. */
  state: string;
  /** The imported objects of the Docker host, which a refresh can read. */
  urns: string[];
  /** Descriptions of the objects that were found. */
  what: string[];
}

/**
 * Adds existing objects to a state.
 * @param exported the state from `pulumi stack export`.
 * @param planned creations from a preview.
 * @throws {Failure} where a preview does not show all settings of an object.
 */
export function withImported(exported: string, planned: readonly State[], there: FoundOnHost): Imported {
  const whole = JSON.parse(exported) as { deployment: { resources?: State[]; pending_operations?: unknown } };
  const resources = [...(whole.deployment.resources ?? [])];
  const known = new Map(resources.map((one) => [one.urn, one]));
  const byUrn = new Map(planned.map((one) => [one.urn, one]));
  const [urns, what]: [string[], string[]] = [[], []];

  for (const [index, one] of resources.entries()) {
    const real = isThing(one) ? found(one, there) : undefined;
    if (real === undefined || real.id === one.id) continue;
    resources[index] = { ...one, id: real.id, inputs: real.inputs, outputs: real.outputs ?? real.inputs };
    urns.push(one.urn);
    what.push(`the ${kindOf(one.type)} ${nameOf(one.inputs)}`);
  }
  const add = (state: State): void => {
    known.set(state.urn, state);
    resources.push(state);
  };
  /** Adds a resource's missing dependencies: components and providers. */
  const need = (urn: string | undefined): void => {
    if (urn === undefined || known.has(urn)) return;
    const one = byUrn.get(urn);
    if (one === undefined) return;
    need(one.parent);
    const plain = Object.fromEntries(Object.entries(one.inputs ?? {}).filter(([, value]) => value !== secretValue));
    if (isProvider(one.type)) add({ ...base(one), id: randomUUID(), inputs: plain, outputs: plain });
    else add(base(one));
  };
  const base = ({ urn, type, custom, parent }: State): State => ({
    urn,
    type,
    custom,
    ...(parent === undefined ? {} : { parent }),
  });
  const present = (list: readonly string[] | null | undefined): string[] =>
    (list ?? []).filter((urn) => known.has(urn));

  for (const one of planned) {
    const real = found(one, there);
    if (real === undefined) continue;
    const unknown = Object.entries(real.inputs).find(([, value]) =>
      JSON.stringify(value ?? null).includes(unknownValue),
    );
    if (unknown !== undefined)
      throw new Failure(
        "other",
        `a preview does not tell the ${unknown[0]} of ${nameOf(one.inputs)}. Nothing was changed`,
      );
    need(one.parent);
    const providerUrn = one.provider?.slice(0, one.provider.lastIndexOf("::"));
    need(providerUrn);
    const provider = providerUrn === undefined ? undefined : `${providerUrn}::${known.get(providerUrn)?.id ?? ""}`;
    const { protect, retainOnDelete, ignoreChanges, additionalSecretOutputs } = one;
    add({
      ...base(one),
      id: real.id,
      inputs: real.inputs,
      outputs: real.outputs ?? real.inputs,
      ...(provider === undefined ? {} : { provider }),
      dependencies: present(one.dependencies),
      propertyDependencies: Object.fromEntries(
        Object.entries(one.propertyDependencies ?? {}).map(([property, on]) => [property, present(on)]),
      ),
      ...(one.deletedWith !== undefined && known.has(one.deletedWith) ? { deletedWith: one.deletedWith } : {}),
      ...Object.fromEntries(
        Object.entries({ protect, retainOnDelete, ignoreChanges, additionalSecretOutputs }).filter(
          ([, value]) => value !== undefined,
        ),
      ),
    });
    if (one.type === containerType || one.type === networkType) urns.push(one.urn);
    what.push(`the ${kindOf(one.type)} ${nameOf(one.inputs)}`);
  }
  return { state: JSON.stringify({ ...whole, deployment: { ...whole.deployment, resources } }), urns, what };
}

/** `docker:index/container:Container`: container. */
const kindOf = (type: string): string => type.slice(type.lastIndexOf(":") + 1).toLowerCase();
