import { containerName as nameOf } from "../../ops/contract/names.ts";
import { styleText } from "node:util";
import { primaryUrl } from "../../config/public-url.ts";
import { hostLockHolder, type LockHolder } from "../../ops/host/host-lock.ts";
import { DockerHost, NotOnHost } from "../host/docker-host.ts";
import { healthOf, type Health } from "../host/look.ts";
import { ago, at, invocation } from "../output.ts";
import type { PlainSettings } from "../stack-file.ts";

/** The state of the one server of a development stack. */
export interface DevelopmentReport {
  url: string;
  containerName: string;
  /** Undefined: there is none. */
  container: { state: string; since: string; exitCode: number } | undefined;
  /** The answer of its server. Undefined: no container runs. */
  health: Health | undefined;
  /** The current holder of the lock: somebody runs `up`. */
  lock: LockHolder | undefined;
}

/** Looks at the container and asks its server. Changes nothing. */
export async function lookAtDevelopment(
  settings: Pick<PlainSettings, "name" | "host" | "source" | "listenAddress" | "ports" | "publicUrl">,
): Promise<DevelopmentReport> {
  const { name, source } = settings;
  const host = new DockerHost(settings.host);
  const containerName = nameOf(name, "dev");
  const [containers, lock] = await Promise.all([host.containers([containerName]), hostLockHolder(name, settings.host)]);
  const container = containers.get(containerName);
  const [network, at] =
    Object.entries(container?.NetworkSettings.Networks ?? {}).find(([, { IPAddress }]) => IPAddress !== "") ?? [];
  let health: Health | undefined;
  if (at !== undefined && container?.State.Status === "running") {
    const url = new URL(source.healthPath, `http://${at.IPAddress}:${source.port}`).href;
    const answer = await host.probe({ servers: { dev: url } }, {}, network).catch((error: unknown) => {
      if (error instanceof NotOnHost) return undefined;
      throw error;
    });
    health = answer?.servers["dev"] && healthOf(answer.servers["dev"]);
  }
  return {
    url: primaryUrl(settings),
    containerName,
    container: container && {
      state: container.State.Status,
      since: container.State.Status === "running" ? container.State.StartedAt : container.State.FinishedAt,
      exitCode: container.State.ExitCode,
    },
    health,
    lock,
  };
}

/** The report as text. */
export function developmentText(
  stack: string,
  { url, containerName, container, health, lock }: DevelopmentReport,
): string {
  const again = `  → ${invocation(`up --stack ${stack}`)}`;
  const deploying =
    lock === undefined
      ? []
      : [styleText("yellow", `A deployment is running: ${lock.held_by}, since ${at(lock.since)} (${ago(lock.since)})`)];
  if (container === undefined)
    return [`${stack}: ${url}`, `Nothing runs: there is no container ${containerName}.`, again, ...deploying].join(
      "\n",
    );
  const { state, since, exitCode } = container;
  const running = state === "running";
  const healthy = health?.status === "healthy";
  const answer =
    health === undefined
      ? "was not asked"
      : [
          health.status,
          ...(health.version === undefined ? [] : [`answers as ${health.version}`]),
          ...(health.detail === undefined ? [] : [health.detail]),
        ].join(", ");
  return [
    `${stack}: ${url}`,
    running
      ? `${containerName} has been running for ${ago(since)}, and builds the working tree at every change`
      : styleText("red", `${containerName} is ${state}${state === "exited" ? ` with code ${exitCode}` : ""}`),
    ...(running
      ? [`Server: ${styleText(healthy ? "green" : health?.status === "degraded" ? "yellow" : "red", answer)}`]
      : []),
    ...(running
      ? healthy
        ? []
        : [`  → docker logs -f ${containerName} shows what air, the compiler and the server say`]
      : [again]),
    ...deploying,
    "No slots, snapshots or history: the environment is development.",
  ].join("\n");
}
