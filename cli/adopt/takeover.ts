/** The last step: moves from the old node to this stack, and back when something fails. */
import { containerName, type Part } from "../../ops/contract/names.ts";
import { setTimeout as sleep } from "node:timers/promises";
import { inUrl, listenAddresses } from "../../config/schema/listen-addresses.ts";
import { messageOf } from "../../ops/contract/errors.ts";
import { seconds } from "../../ops/contract/units.ts";
import type { DeployContext } from "../context.ts";
import { deploy } from "../deploy/deploy.ts";
import { Interrupts } from "../deploy/interrupts.ts";
import type { Ending } from "../exit-codes.ts";
import { exitCodes } from "../exit-codes.ts";
import { asFailure, Failure } from "../failure.ts";
import { DockerHost } from "../host/docker-host.ts";
import { healthOf } from "../host/look.ts";
import { invocation } from "../output.ts";
import { copy, type OldDatabase } from "./copy.ts";
import type { ForeignHost } from "./host.ts";
import { describeProxy, startProxy, stopProxy } from "./proxy.ts";
import type { Adoption, Takeover } from "./record.ts";

export interface TakeoverJob {
  context: DeployContext;
  adoption: Adoption;
  host: ForeignHost;
  /** An image on the host. */
  image: string;
  /** Ports of the old slots by container. */
  oldPorts: Readonly<Record<string, number | undefined>>;
}

/** SQL for other clients of the old database, as `name at address`. */
const othersSql = `SELECT string_agg(DISTINCT coalesce(nullif(application_name, ''), usename::text) || coalesce(' at ' || host(client_addr), ''), ', ')
  FROM pg_catalog.pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`;

const answerMs = 30_000;
const pauseMs = 300;

/**
 * @throws {Failure} after a signal: the current action is completed first, and the old node serves again before this
 * process ends.
 */
function unlessInterrupted({ signal }: Interrupts): void {
  if (signal.aborted) throw new Failure("interrupted", "interrupted");
}

/**
 * Asks until an answer is good.
 * @returns the last answer where none was.
 */
async function until(ask: () => Promise<string | undefined>): Promise<string | undefined> {
  const deadline = Date.now() + answerMs;
  for (;;) {
    const problem = await ask().catch((error: unknown) => (error instanceof Error ? error.message : String(error)));
    if (problem === undefined || Date.now() > deadline) return problem;
    await sleep(pauseMs);
  }
}

/** The problem of a request to the Docker host's own public ports. Undefined: none. */
async function publicProblem({ settings }: DeployContext): Promise<string | undefined> {
  const { ports, listenAddress, activeSlot, source } = settings;
  const [first = ""] = listenAddresses(listenAddress);
  const address =
    ({ "0.0.0.0": "127.0.0.1", "::": "[::1]" } as Readonly<Record<string, string>>)[first] ?? inUrl(first);
  const url = (scheme: "http" | "https"): string =>
    new URL(source.healthPath, `${scheme}://${address}:${ports[scheme]}`).href;
  const { router, servers } = await new DockerHost(settings.host).probe(
    {
      router: { http: url("http"), https: url("https") },
      servers: settings.tls === undefined ? {} : { https: url("https") },
    },
    {},
    "host",
  );
  for (const answer of [router, ...Object.values(servers)]) {
    if (answer === null) continue;
    const { status, detail } = healthOf(answer);
    if (status !== "healthy") return `${status}${detail === undefined ? "" : `: ${detail}`}`;
    if ("slot" in answer && answer.slot !== activeSlot)
      return `${answer.slot ?? "something else"} answers, expected ${activeSlot}`;
  }
  return undefined;
}

/** The problem of an old slot that was started again. Undefined: it answers. */
async function oldProblem({ settings }: DeployContext, port: number): Promise<string | undefined> {
  const { servers } = await new DockerHost(settings.host).probe(
    { servers: { old: new URL(settings.source.healthPath, `http://127.0.0.1:${port}`).href } },
    {},
    "host",
  );
  const answer = servers["old"];
  if (answer === undefined || "error" in answer) return answer?.error ?? "no answer";
  return answer.status < 500 ? undefined : `HTTP ${answer.status}`;
}

/**
 * The slots of an untouched node that answer now, as a sentence.
 * @param oldPorts ports of the running slots, by container name.
 */
export async function oldNodeNow(context: DeployContext, oldPorts: TakeoverJob["oldPorts"]): Promise<string> {
  const asked = await Promise.all(
    Object.entries(oldPorts).flatMap(([name, port]) =>
      port === undefined
        ? []
        : [
            oldProblem(context, port).then(
              (problem) => ({ name, problem }),
              (error: unknown) => ({ name, problem: messageOf(error) }),
            ),
          ],
    ),
  );
  const answering = asked.filter(({ problem }) => problem === undefined).map(({ name }) => name);
  if (answering.length > 0) return `The old node serves, untouched: ${answering.join(" and ")} answers.`;
  if (asked.length === 0) return "The old node is untouched; no slot of it runs.";
  return `The old node is untouched; ${asked.map(({ name, problem }) => `${name} does not answer well: ${problem}`).join("; ")}.`;
}

async function deployOn(job: TakeoverJob, ports: { http: number; https: number }): Promise<number> {
  const { file, pulumi } = job.context;
  file.setValue(ports, "ports");
  file.save();
  job.context = { ...job.context, settings: file.settings(), before: { ...(await pulumi.before()) } };
  return deploy({ ...job.context, dryRun: false, skipMigrations: false, force: false });
}

const container = ({ context }: TakeoverJob, part: Part): string => containerName(context.settings.name, part);

/**
 * Starts all parts of the old node that this program has stopped.
 * @returns a sentence about its answers.
 */
export async function goBack(job: TakeoverJob, takeover: Takeover): Promise<string> {
  const { adoption, host, image, context, oldPorts } = job;
  const { output, settings } = context;
  output.say("Going back to the old node.");
  if (takeover.public !== undefined) await host.stop(container(job, "router"), "no").catch(() => undefined);
  // Two servers that run the same jobs, each on its own copy, would run each job twice.
  await host.stop(container(job, settings.activeSlot), "no").catch(() => undefined);
  await host.start(takeover.database.container, takeover.database.restart);
  for (const slot of takeover.slots) await host.start(slot.container, slot.restart);
  await startProxy(host, image, takeover.proxy);
  const answers: string[] = [];
  for (const slot of takeover.slots) {
    const port = oldPorts[slot.container];
    if (port === undefined) continue;
    const problem = await until(() => oldProblem(context, port));
    answers.push(
      problem === undefined ? `${slot.container} answers` : `${slot.container} does not answer well: ${problem}`,
    );
  }
  const beside = adoption.record.ports?.beside;
  if (takeover.public !== undefined && beside !== undefined) {
    const code = await deployOn(job, beside);
    if (code !== exitCodes.ok.code)
      output.warn(
        `this stack's router could not be brought back to the ports ${beside.http} and ${beside.https}; it is stopped`,
      );
    await host.stop(container(job, settings.activeSlot), "no").catch(() => undefined);
  }
  adoption.note({ takeover: undefined });
  const proxy = takeover.proxy.kind === "none" ? "" : `; ${describeProxy(takeover.proxy)} runs again`;
  return `The old node serves again: ${answers.length === 0 ? "no slot of it ran" : answers.join(", ")}${proxy}.`;
}

/** @throws {Failure} after the old node was started again. */
export async function takeOver(
  job: TakeoverJob,
  begun: Takeover,
  old: OldDatabase,
): Promise<{ outageMs: number; rows: number; snapshot: string }> {
  const { adoption, host, image } = job;
  const { output } = job.context;
  const interrupts = new Interrupts();
  let takeover = begun;
  const note = (change: Partial<Takeover>): void => {
    takeover = { ...takeover, ...change };
    adoption.note({ takeover });
  };
  note({});
  try {
    const final = adoption.record.ports?.final ?? job.context.settings.ports;
    // An earlier attempt may have left them stopped.
    for (const part of ["database", job.context.settings.activeSlot] as const)
      await host.start(container(job, part), "no");
    for (const slot of takeover.slots) {
      output.say(`Stopping ${slot.container}.`);
      await host.stop(slot.container, slot.restart);
    }
    unlessInterrupted(interrupts);
    if (takeover.copied === undefined) {
      const others = await host.query(takeover.database.container, othersSql);
      if (others !== "")
        output.warn(`${others}: connected to the old database still. What they write from now on is not taken over.`);
      note({ copied: await copy(job.context, old) });
    }
    unlessInterrupted(interrupts);
    if (takeover.proxy.kind !== "none") output.say(`Stopping ${describeProxy(takeover.proxy)}.`);
    await stopProxy(host, image, takeover.proxy);
    unlessInterrupted(interrupts);
    note({ public: new Date().toISOString() });
    const code = await deployOn(job, final);
    if (code !== exitCodes.ok.code)
      throw new Failure(
        (Object.keys(exitCodes) as Ending[]).find((ending) => exitCodes[ending].code === code) ?? "other",
        "the router could not take the public ports",
      );
    const problem = await until(() => publicProblem(job.context));
    if (problem !== undefined)
      throw new Failure("switch", `the router does not answer well on the public ports: ${problem}`);
  } catch (error) {
    const failure = asFailure(error);
    const said = failure?.message ?? (error instanceof Error ? (error.stack ?? error.message) : String(error));
    const back = await goBack(job, takeover).catch((again: unknown) => {
      throw new Failure(
        "other",
        `${said}\nThe old node could not be started again: ${again instanceof Error ? again.message : String(again)}`,
        `${invocation(`adopt --undo --stack ${job.context.file.stack}`)} tries again; by hand: docker start ${[takeover.database, ...takeover.slots].map((one) => one.container).join(" ")}`,
      );
    });
    throw new Failure(
      failure?.ending ?? "other",
      `${said}\n${back}`,
      failure?.fix ?? `once that is right: ${invocation(`adopt --stack ${job.context.file.stack}`)}`,
    );
  } finally {
    interrupts.end();
  }
  const outageMs = Date.now() - Date.parse(takeover.at);
  adoption.note({ done: { at: new Date().toISOString(), outageMs } });
  output.say(`The router answers on the public ports, after ${seconds(outageMs)} without service.`);
  await host.stop(takeover.database.container, takeover.database.restart).catch((error: unknown) => {
    output.warn(
      `${takeover.database.container} could not be stopped: ${error instanceof Error ? error.message : String(error)}. Nothing uses it any more: docker stop ${takeover.database.container}`,
    );
  });
  return { outageMs, rows: takeover.copied?.rows ?? 0, snapshot: takeover.copied?.snapshot ?? "" };
}
