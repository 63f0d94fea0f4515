/** Watches the slot's container while the gate asks it: a container that exits has failed, whatever comes after. */
import { setTimeout as sleep } from "node:timers/promises";
import * as z from "zod";
import type { Stop } from "../contract/channel.ts";
import type { StepContext } from "../contract/context.ts";
import type { StepRequest } from "../contract/steps.ts";
import { endOf } from "../contract/programs.ts";
import type { Redactor } from "../contract/redact.ts";
import { dockerProblem, startDocker, tryDocker } from "../host/docker.ts";
import { onLines } from "../host/lines.ts";

const logLines = 20;
/** Pause between two looks at the container, in case the event of its end was missed, in ms. */
const lookMs = 5_000;
/** A container that was restarted within this time crashes at start, in ms. */
const crashLoopMs = 10_000;

const stateSchema = z.looseObject({
  Id: z.string(),
  RestartCount: z.number(),
  State: z.looseObject({ Status: z.string(), ExitCode: z.number(), StartedAt: z.string(), OOMKilled: z.boolean() }),
});

async function exitReport(request: StepRequest<"gate">, redactor: Redactor, what: string): Promise<Stop> {
  const { containerName } = request;
  const { stdout, stderr } = await tryDocker(["logs", "--tail", String(logLines), "--timestamps", containerName]);
  // Both streams in the order of their timestamps, which are then removed.
  const lines = `${stdout}\n${stderr}`
    .split("\n")
    .filter((line) => line !== "")
    .sort()
    .slice(-logLines)
    .map((line) => redactor.text(line.replace(/^\S+ /, "")));
  const log =
    lines.length === 0 ? " It logged nothing." : ` Its last lines:\n${lines.map((line) => `  ${line}`).join("\n")}`;
  return {
    message: `${containerName} ${what}; traffic stays where it is.${log}`,
    hint: `docker logs ${containerName}`,
  };
}

type ContainerState = z.infer<typeof stateSchema>;

async function inspect(request: StepRequest<"gate">): Promise<ContainerState | "none" | undefined> {
  const { ok, stdout, stderr } = await tryDocker(["inspect", "--type=container", request.containerName]);
  if (!ok) return /no such/i.test(stderr) ? "none" : undefined;
  return z.array(stateSchema).parse(JSON.parse(stdout))[0];
}

/**
 * The problem of the container now. Undefined: none.
 * @param restarts its number of restarts when the gate began; undefined at the first look.
 */
async function judge(
  container: ContainerState | "none",
  request: StepRequest<"gate">,
  redactor: Redactor,
  restarts: number | undefined,
): Promise<Stop | undefined> {
  const { containerName, containerId } = request;
  if (container === "none")
    return {
      message: `the container ${containerName} doesn't exist`,
      hint: "pulumi refresh, then pulumi up, make it again",
    };
  if (!container.Id.startsWith(containerId) && !containerId.startsWith(container.Id)) {
    return {
      message: `${containerName} is another container than the one to gate: ${container.Id.slice(0, 12)}, expected ${containerId.slice(0, 12)}`,
      hint: "pulumi refresh, then pulumi up",
    };
  }
  const { Status: status, ExitCode: exitCode, StartedAt: startedAt, OOMKilled: oomKilled } = container.State;
  const endedWith = (code: string | undefined): string =>
    `its server ended${code === undefined ? "" : ` with exit code ${code}`}${oomKilled ? " (out of memory)" : ""}`;
  if (status !== "running")
    return exitReport(
      request,
      redactor,
      status === "created" ? "was never started" : `is ${status}, ${endedWith(String(exitCode))}`,
    );
  const restarted =
    restarts === undefined
      ? container.RestartCount > 0 && Date.now() - Date.parse(startedAt) < crashLoopMs
      : container.RestartCount > restarts;
  // The engine reports exit code 0 for a container that runs again.
  return restarted
    ? exitReport(
        request,
        redactor,
        `does not stay up: it was restarted ${container.RestartCount} times, ${endedWith(await lastExitCode(container.Id))}`,
      )
    : undefined;
}

const dieSchema = z.looseObject({ Actor: z.looseObject({ Attributes: z.record(z.string(), z.string()) }) });

/**
 * The last exit code of a container that runs again, from the engine's events of the last minutes. Undefined: it has
 * none.
 */
async function lastExitCode(containerId: string): Promise<string | undefined> {
  const { stdout } = await tryDocker([
    "events",
    "--since=10m",
    // Whole seconds: the latest event is in the second that is not over yet.
    `--until=${Math.floor(Date.now() / 1000) + 1}`,
    // Its name could belong to an earlier container.
    `--filter=container=${containerId}`,
    "--filter=event=die",
    "--format={{json .}}",
  ]);
  const last = stdout
    .split("\n")
    .filter((line) => line !== "")
    .at(-1);
  return last === undefined ? undefined : exitCodeIn(last);
}

/** The exit code in an event of a container's end. */
function exitCodeIn(event: string): string | undefined {
  try {
    return dieSchema.safeParse(JSON.parse(event)).data?.Actor.Attributes["exitCode"];
  } catch {
    return undefined;
  }
}

/**
 * Handles a stopped container: starts it, or reports that it may stay so. The engine always restarts a container that
 * ends by itself: an exited one was stopped by somebody. `watchContainer` explains all other cases.
 */
export async function seeToStopped(
  request: StepRequest<"gate">,
  { log, signal }: StepContext,
): Promise<"stays" | undefined> {
  const { containerName, whenStopped } = request;
  const container = await inspect(request);
  if (container === undefined || container === "none" || container.State.Status !== "exited") return undefined;
  if (whenStopped === "pass") {
    log.info(`gate: ${containerName} is stopped, as an idle slot is to be (togather:standby)`);
    return "stays";
  }
  log.info(`gate: ${containerName} is stopped, and is started`);
  const { ok, stderr } = await tryDocker(["start", containerName], { signal });
  if (!ok) throw dockerProblem(stderr);
  return undefined;
}

/** Resolves when the container exits; with undefined when the gate has ended before. */
export async function watchContainer(
  request: StepRequest<"gate">,
  redactor: Redactor,
  signal: AbortSignal,
): Promise<Stop | undefined> {
  // The engine reports an exit at once, through one connection: polling twice a second would cost an ssh login each
  // time.
  const events = startDocker(
    ["events", `--filter=container=${request.containerName}`, "--filter=event=die", "--format={{json .}}"],
    { signal },
  );
  const ended = endOf(events);
  events.stderr.resume();
  const died = new Promise<string | undefined>((resolve) => {
    void onLines(events.stdout, (line) => {
      resolve(exitCodeIn(line) ?? "unknown");
    });
    void ended.then(() => {
      resolve(undefined);
    });
  });
  try {
    const first = await inspect(request);
    const wrong = first && (await judge(first, request, redactor, undefined));
    if (wrong !== undefined) return wrong;
    const restarts = first === undefined || first === "none" ? 0 : first.RestartCount;
    for (;;) {
      const exitCode = await Promise.race([
        died,
        sleep(lookMs, "still up" as const, { signal }).catch(() => undefined),
      ]);
      if (signal.aborted) return undefined;
      if (exitCode !== undefined && exitCode !== "still up")
        return await exitReport(request, redactor, `exited with code ${exitCode}`);
      // Events may have been lost: before they were listened to, or with the connection.
      if (exitCode === undefined) await sleep(lookMs, undefined, { signal }).catch(() => undefined);
      const now = await inspect(request);
      const then = now && (await judge(now, request, redactor, restarts));
      if (then !== undefined) return then;
    }
  } finally {
    events.kill();
  }
}
