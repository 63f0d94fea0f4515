/**
 * What a deployment has on its Docker host, by name and label. A name that changes here is a container or a volume that is replaced in every
 * deployment that exists.
 */
import type { SlotName } from "./steps.ts";

const own = "togather";

/** A container that stays. */
export type Part = SlotName | "database" | "router" | "dev";

export function containerName(deployment: string, part: Part): string {
  return `${own}-${deployment}-${part === "database" ? "db" : part}`;
}

/** A container for as long as something takes, such as a step; `id` tells those apart of which there may be several at once. */
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

/** The part that an engine's own `Name` of a container ends with, where it is a slot's. */
export function slotNamed(name: string): SlotName | undefined {
  const [, slot] = new RegExp(`^/?${own}-\\S+-(blue|green)$`).exec(name) ?? [];
  return slot as SlotName | undefined;
}

/** Images: without their tag. `kept` is what holds on to those of the slots of a deployment. */
export function imageRepository(image: "server" | "ops" | "postgres" | "nginx" | "dev" | "kept" | "pulled"): string {
  return `${own}-${image}`;
}

/** By which people, tests and this program find what belongs to a deployment, and what it is. */
export const labels = {
  /** The deployment's name. */
  name: "org.togather.name",
  /** What it is of it. */
  part: "org.togather.part",
  /** Of a slot's container: the release that it runs, and the port on which its server listens. */
  version: "org.togather.version",
  commit: "org.togather.commit",
  port: "org.togather.port",
  /** Of an image that was built: what from. */
  source: "org.togather.source",
  /** Of the container that holds the lock: the deployment's name, and who holds it. */
  lock: "org.togather.lock",
  lockHolder: "org.togather.lock.holder",
} as const;
