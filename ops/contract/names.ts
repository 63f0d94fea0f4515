/**
 * Names and labels of a deployment's objects on its Docker host. Changing one here replaces a container or a volume in
 * every existing deployment.
 */
import type { SlotName } from "./steps.ts";

const own = "togather";

/** A permanent container. */
export type Part = SlotName | "database" | "router" | "dev";

export function containerName(deployment: string, part: Part): string {
  return `${own}-${deployment}-${part === "database" ? "db" : part}`;
}

/** The name of a temporary container, such as a step's. `id` distinguishes several that may exist at once. */
export function oneOffName(deployment: string, purpose: string, id?: string): string {
  return [own, deployment, purpose, ...(id === undefined ? [] : [id])].join("-");
}

/** The private network of a deployment's containers. */
export function networkName(deployment: string): string {
  return `${own}-${deployment}`;
}

const contents = { database: "data", router: "files", dev: "cache" } as const;

/** The volume of a container that has one. */
export function volumeName(deployment: string, part: keyof typeof contents): string {
  return `${containerName(deployment, part)}-${contents[part]}`;
}

/** Whether a database's host is a container of a deployment. */
export function isContainerHost(host: string): boolean {
  return host.startsWith(`${own}-`);
}

/** The slot that an engine's own `Name` of a container ends with. Undefined: none. */
export function slotNamed(name: string): SlotName | undefined {
  const [, slot] = new RegExp(`^/?${own}-\\S+-(blue|green)$`).exec(name) ?? [];
  return slot as SlotName | undefined;
}

/** Names of images, without their tag. `kept` are images that keep those of a deployment's slots from being removed. */
export function imageRepository(image: "server" | "ops" | "postgres" | "nginx" | "dev" | "kept" | "pulled"): string {
  return `${own}-${image}`;
}

/** Labels by which people, tests and this program find the objects of a deployment. */
export const labels = {
  /** The deployment's name. */
  name: "org.togather.name",
  /** The object's part in the deployment. */
  part: "org.togather.part",
  /** On a slot's container: its release, and the port on which its server listens. */
  version: "org.togather.version",
  commit: "org.togather.commit",
  port: "org.togather.port",
  /** On a built image: its source. */
  source: "org.togather.source",
  /** On the container that holds the lock: the deployment's name, and the holder. */
  lock: "org.togather.lock",
  lockHolder: "org.togather.lock.holder",
} as const;
