/** Watches the slot's container while the gate asks it: one that exits has failed, whatever comes after. */
import { execa } from "execa";
import { z } from "zod";
import type { Stop } from "../channel.ts";
import type { StepRequest } from "../contract.ts";
import type { Redactor } from "../redact.ts";
import { tryDocker, withoutSecrets } from "./docker.ts";
import { onLines } from "./lines.ts";

const logLines = 20;
/** A container that was restarted this recently crashes at start. */
const crashLoopMs = 10_000;

const stateSchema = z.looseObject({
  Id: z.string(),
  RestartCount: z.number(),
  State: z.looseObject({ Status: z.string(), ExitCode: z.number(), StartedAt: z.string(), OOMKilled: z.boolean() }),
});

async function exitReport(request: StepRequest<"gate">, redactor: Redactor, what: string): Promise<Stop> {
  const { containerName } = request;
  const { stdout, stderr } = await tryDocker(["logs", "--tail", String(logLines), "--timestamps", containerName]);
  // Both streams in the order of their timestamps, which then go.
  const lines = `${stdout}\n${stderr}`
    .split("\n")
    .filter((line) => line !== "")
    .sort()
    .slice(-logLines)
    .map((line) => redactor.text(line.replace(/^\S+ /, "")));
  const log = lines.length === 0 ? " It logged nothing." : ` Its last lines:\n${lines.map((line) => `  ${line}`).join("\n")}`;
  return { message: `${containerName} ${what}; traffic stays where it is.${log}`, hint: `docker logs ${containerName}` };
}

/** Looks once: what has happened before the events are heard. */
async function inspect(request: StepRequest<"gate">, redactor: Redactor): Promise<Stop | undefined> {
  const { containerName, containerId } = request;
  const { ok, stdout, stderr } = await tryDocker(["inspect", "--type=container", containerName]);
  if (!ok) {
    return /no such/i.test(stderr)
      ? { message: `the container ${containerName} doesn't exist`, hint: "pulumi refresh, then pulumi up, make it again" }
      : undefined;
  }
  const container = z.array(stateSchema).parse(JSON.parse(stdout))[0];
  if (container === undefined) return undefined;
  if (!container.Id.startsWith(containerId) && !containerId.startsWith(container.Id)) {
    return { message: `${containerName} is another container than the one to gate: ${container.Id.slice(0, 12)}, expected ${containerId.slice(0, 12)}`, hint: "pulumi refresh, then pulumi up" };
  }
  const { Status: status, ExitCode: exitCode, StartedAt: startedAt, OOMKilled: oomKilled } = container.State;
  if (status !== "running") {
    return exitReport(request, redactor, status === "created" ? "was never started" : `is ${status}, its server ended with exit code ${exitCode}${oomKilled ? " (out of memory)" : ""}`);
  }
  if (container.RestartCount > 0 && Date.now() - Date.parse(startedAt) < crashLoopMs) {
    return exitReport(request, redactor, `does not stay up: it was restarted ${container.RestartCount} times, its server ended with exit code ${exitCode}`);
  }
  return undefined;
}

const dieSchema = z.looseObject({ Actor: z.looseObject({ Attributes: z.record(z.string(), z.string()) }) });

/** Resolves when the container exits; with nothing when the gate has ended before. */
export async function watchContainer(request: StepRequest<"gate">, redactor: Redactor, signal: AbortSignal): Promise<Stop | undefined> {
  // The engine tells of an exit at once, through one connection: asking twice a second would cost an ssh login each.
  const events = execa("docker", ["events", `--filter=container=${request.containerName}`, "--filter=event=die", "--format={{json .}}"], {
    env: withoutSecrets(process.env),
    extendEnv: false,
    reject: false,
    buffer: false,
    stdin: "ignore",
    stderr: "ignore",
    cancelSignal: signal,
  });
  const died = new Promise<string | undefined>((resolve) => {
    void onLines(events.stdout, (line) => {
      const parsed = dieSchema.safeParse(JSON.parse(line));
      resolve(parsed.success ? (parsed.data.Actor.Attributes["exitCode"] ?? "unknown") : "unknown");
    });
    void events.then(() => { resolve(undefined); });
  });
  const now = await inspect(request, redactor);
  if (now !== undefined) {
    events.kill();
    return now;
  }
  const exitCode = await died;
  events.kill();
  return exitCode === undefined || signal.aborted ? undefined : exitReport(request, redactor, `exited with code ${exitCode}`);
}
