/** A container of a stack on its Docker host, for commands that use one directly. */
import { containerName } from "../../ops/contract/names.ts";
import { lookAtHost } from "../../ops/host/serving-slot.ts";
import type { SlotName } from "../../ops/contract/steps.ts";
import type { ReadContext } from "../context.ts";
import { isDevelopment } from "../development/refuse.ts";
import { Failure } from "../failure.ts";
import { invocation } from "../output.ts";

export interface ContainerOnHost {
  name: string;
  part: SlotName | "router";
  /** State in Docker's words. */
  state: string;
}

/**
 * The container of a slot or of the router.
 * @param wanted default: the slot that serves, by the router's own answer.
 * @throws {Failure} where there is no such container, or where it can't be known which one is meant.
 */
export async function containerOf(
  { file, settings }: Pick<ReadContext, "file" | "settings">,
  wanted: SlotName | "router" | undefined,
): Promise<ContainerOnHost> {
  const { name, host } = settings;
  if (isDevelopment(settings)) {
    const docker = host === "" ? "docker" : `DOCKER_HOST=${host} docker`;
    throw new Failure(
      "config",
      `${file.stack} has no slots: togather:environment in ${file.name} is ${settings.environment}`,
      `${docker} logs, or ${docker} exec, with its one server, ${containerName(name, "dev")}`,
    );
  }
  const { router, states } = await lookAtHost(name, host);
  const part = wanted ?? router?.slot;
  if (part === undefined) {
    throw new Failure(
      "other",
      `nothing serves: ${router === undefined ? "there is no router" : "the router has no slot to send requests to"}`,
      `${invocation(`up --stack ${file.stack}`)}, or name a slot: --slot blue`,
    );
  }
  const { [part]: state } = states;
  if (state === undefined) {
    const fix = part === "router" ? `up --stack ${file.stack}` : `release REF --no-switch --stack ${file.stack}`;
    throw new Failure(
      "other",
      `${part} has no container on ${host === "" ? "the Docker host" : host}, expected ${containerName(name, part)}`,
      part === "router"
        ? invocation(fix)
        : `${invocation(fix)} fills the slot that does not serve; ${invocation(`status --stack ${file.stack}`)} says what there is`,
    );
  }
  return { name: containerName(name, part), part, state };
}
