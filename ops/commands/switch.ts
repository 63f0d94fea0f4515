/**
 * `switch`: which slot serves. The slot is persisted before nginx is told, so that a crash at any moment leaves a
 * router that is on one slot or the other, and a restart that comes up on what was decided last.
 */
import { Agent as HttpAgent, request as httpRequest, type IncomingHttpHeaders, type RequestOptions } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import type { StepContext } from "../context.ts";
import { slotNameSchema, type SlotName, type StepRequest, type StepResult } from "../contract.ts";
import { messageOf, StepError } from "../errors.ts";
import { syncDirectory, writeFileAtomically } from "../files.ts";
import { isRelease, parseHealth } from "../health.ts";

/** Longest wait for one answer. */
const answerMs = 5_000;
/** Longest wait for the control socket of a router that has just been created. */
const routerStartMs = 15_000;
/** Connections that are open through the router before the switch, and as many new ones after it: each must have moved. */
const connections = 4;
/** Rounds of confirming: a single lost answer does not undo a release. */
const rounds = 3;
const betweenRoundsMs = 300;
/** The router's HTTPS port in the private network, for a router that sends plain HTTP there. */
const routerHttpsPort = "8443";

/** What to look at when the router is not as it should be. */
function routerLogs({ name }: { name: string }): string {
  return `docker logs --tail 20 togather-${name}-router`;
}

const stateSchema = z.object({ slot: slotNameSchema, changedAt: z.string() });

export async function run(request: StepRequest<"switch">, context: StepContext): Promise<StepResult<"switch">> {
  const { activeSlot: to, release } = request;
  const { log, signal, paths } = context;
  const started = performance.now();
  const stateFile = join(paths.router, "state", "slot.json");
  const control = new RouterControl(join(paths.router, "run", "control.sock"), routerLogs(request));

  await checkTarget(request, signal);
  const running = await control.slot(signal);
  const persisted = await readState(stateFile);
  const from = running ?? persisted?.slot ?? null;
  log.debug(`router: ${running ?? "no slot"} in nginx, ${persisted?.slot ?? "no slot"} on disk`);
  // Before anything is changed: who was connected before the switch must be moved by it, too.
  const witnesses = await Promise.all(Array.from({ length: connections }, () => openWitness(request)));

  // From here to the end nothing is abandoned half-way: a stop waits for the few hundred milliseconds that it takes.
  signal.throwIfAborted();
  const switchedAt = new Date().toISOString();
  try {
    if (persisted?.slot !== to) await writeFileAtomically(stateFile, `${JSON.stringify({ slot: to, changedAt: switchedAt })}\n`);
    if (running !== to) await control.set(to);
    await confirm(request, witnesses);
  } catch (error) {
    await undo({ error, from, to, running, persisted: persisted?.text, stateFile, control, log, hint: routerLogs(request) });
  } finally {
    for (const witness of witnesses) witness.destroy();
  }

  const durationMs = Math.round(performance.now() - started);
  const what = from === to ? `${to} serves ${release.version} already` : `traffic goes to ${to} (${release.version}) now, ${from === null ? "the first slot to serve" : `${from} before`}`;
  log.info(`${what}; confirmed on ${connections} connections from before and ${connections} new ones`, { from, to, duration_ms: durationMs });
  return { from, to, switchedAt: from === to ? (persisted?.changedAt ?? switchedAt) : switchedAt, durationMs };
}

/** The target itself, not the router: is it healthy now, and the release that is meant? */
async function checkTarget(request: StepRequest<"switch">, signal: AbortSignal): Promise<void> {
  const { activeSlot, slotUrl, healthPath, release } = request;
  const url = new URL(healthPath, slotUrl);
  const problem = await ask(url, { signal }).then(
    (answer) => problemOf(answer, release),
    (error: unknown) => messageOf(error),
  );
  signal.throwIfAborted();
  if (problem !== undefined) {
    throw new StepError(`${activeSlot} can't take over at ${url.href}: ${problem}. Nothing was changed`, {
      hint: `docker logs togather-${request.name}-${activeSlot}`,
    });
  }
}

/** What is wrong with an answer of the health endpoint; undefined when nothing is. */
function problemOf({ status, body }: Answer, release: StepRequest<"switch">["release"]): string | undefined {
  if (status < 200 || status > 299) return `its health endpoint answers ${status}`;
  const health = parseHealth(body);
  if (health === undefined) return `its health endpoint answers ${status}, but not with a known health document`;
  if (isRelease(health, release)) return undefined;
  return `it is ${health.version}${health.gitCommit === undefined ? "" : ` (${health.gitCommit})`}, not ${release.version} (${release.commit})`;
}

async function readState(file: string): Promise<(z.infer<typeof stateSchema> & { text: string }) | undefined> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new StepError(`${file} can't be read: ${messageOf(error)}`);
  }
  try {
    return { ...stateSchema.parse(JSON.parse(text)), text };
  } catch {
    // Not ours, or damaged: as good as none, and replaced.
    return undefined;
  }
}

/** nginx's memory, through its unix socket. */
class RouterControl {
  private readonly socketPath: string;
  private readonly hint: string;

  constructor(socketPath: string, hint: string) {
    this.socketPath = socketPath;
    this.hint = hint;
  }

  /** Waits for a router that is starting. */
  async slot(signal: AbortSignal): Promise<SlotName | null> {
    const deadline = performance.now() + routerStartMs;
    for (;;) {
      signal.throwIfAborted();
      try {
        return z.object({ slot: slotNameSchema.nullable() }).parse(await this.send("GET")).slot;
      } catch (error) {
        if (performance.now() > deadline) {
          throw new StepError(`the router does not answer on its control socket: ${messageOf(error)}. Nothing was changed`, {
            hint: this.hint,
            cause: error,
          });
        }
      }
      await sleep(100, undefined, { signal });
    }
  }

  async set(slot: SlotName | null): Promise<void> {
    await (slot === null ? this.send("DELETE") : this.send("PUT", JSON.stringify({ slot })));
  }

  private async send(method: "GET" | "PUT" | "DELETE", body?: string): Promise<unknown> {
    const answer = await ask(new URL("http://router/slot"), { socketPath: this.socketPath, method, body });
    if (answer.status !== 200) throw new Error(`the control socket answers ${answer.status}: ${answer.body.trim()}`);
    return JSON.parse(answer.body);
  }
}

type Witness = HttpAgent | HttpsAgent;

/** An agent that keeps one connection to the router open, used once. Before the first switch the router answers 503: that counts. */
async function openWitness({ routerUrl, healthPath }: StepRequest<"switch">): Promise<Witness> {
  const url = new URL(healthPath, routerUrl);
  const plain = new HttpAgent({ keepAlive: true, maxSockets: 1 });
  const answer = await ask(url, { agent: plain }).catch(() => undefined);
  if (answer?.status !== 308) return plain;
  plain.destroy();
  const encrypted = new HttpsAgent({ keepAlive: true, maxSockets: 1, ...unnamed });
  await ask(encryptedUrl(url), { agent: encrypted }).catch(() => undefined);
  return encrypted;
}

/** The certificate is for the public name; here, in the private network, it is the address that counts. */
const unnamed = { rejectUnauthorized: false };

function encryptedUrl(url: URL): URL {
  const encrypted = new URL(url);
  encrypted.protocol = "https:";
  encrypted.port = routerHttpsPort;
  return encrypted;
}

/** Throws unless every connection, those from before the switch and new ones, reaches the target and its release. */
async function confirm({ routerUrl, healthPath, activeSlot, release }: StepRequest<"switch">, witnesses: Witness[]): Promise<void> {
  const url = new URL(healthPath, routerUrl);
  let problems: string[] = [];
  for (let round = 0; round < rounds; round++) {
    if (round > 0) await sleep(betweenRoundsMs);
    const secure = witnesses.some((witness) => witness instanceof HttpsAgent);
    const requests = [
      ...witnesses.map((agent) => ask(agent instanceof HttpsAgent ? encryptedUrl(url) : url, { agent })),
      ...witnesses.map(() => ask(secure ? encryptedUrl(url) : url, secure ? unnamed : {})),
    ];
    const outcomes = await Promise.allSettled(requests);
    problems = outcomes.flatMap((outcome) => {
      if (outcome.status === "rejected") return [messageOf(outcome.reason)];
      const served = outcome.value.headers["x-togather-slot"];
      if (served !== activeSlot) return [`a request went to ${typeof served === "string" && served !== "" ? served : "no slot"}`];
      return problemOf(outcome.value, release) ?? [];
    });
    if (problems.length === 0) return;
  }
  throw new Error([...new Set(problems)].join("; "));
}

/** Puts nginx and the file back to what they were, and says which slot traffic is on. */
async function undo(change: {
  error: unknown;
  from: SlotName | null;
  to: SlotName;
  running: SlotName | null;
  persisted: string | undefined;
  stateFile: string;
  control: RouterControl;
  log: StepContext["log"];
  hint: string;
}): Promise<never> {
  const { error, from, to, running, persisted, stateFile, control, log, hint } = change;
  const reason = messageOf(error);
  log.warn(`the switch to ${to} is not confirmed and is undone: ${reason}`);
  const failures: string[] = [];
  // The same order as before: the file, then nginx.
  const restoreFile = async (): Promise<void> => {
    if (persisted !== undefined) {
      await writeFileAtomically(stateFile, persisted);
    } else {
      await rm(stateFile, { force: true });
      await syncDirectory(dirname(stateFile));
    }
  };
  await restoreFile().catch((failure: unknown) => failures.push(`${stateFile}: ${messageOf(failure)}`));
  // nginx may never have been told, or be gone: then there is nothing to put back, and a restart reads the file.
  await control.set(running).catch((failure: unknown) => failures.push(`control socket: ${messageOf(failure)}`));
  const cause = { cause: error };
  if (failures.length > 0) {
    throw new StepError(`the switch to ${to} failed (${reason}) and could not be undone: ${failures.join("; ")}. The router may be on either slot`, {
      hint: `${hint}; the router's answers say which in X-Togather-Slot, and deploying again settles it`,
      ...cause,
    });
  }
  if (from === to) {
    throw new StepError(`${to} serves, but that can't be confirmed through the router: ${reason}. Nothing was changed`, { hint, ...cause });
  }
  throw new StepError(`the switch to ${to} was undone: ${reason}. ${from === null ? "No slot serves, as before" : `Traffic is still on ${from}`}`, {
    hint,
    ...cause,
  });
}

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

/** One request, with a limit in time. Not `fetch`: it takes neither a unix socket nor an agent of one's own. */
function ask(url: URL, { body, signal, ...options }: RequestOptions & { body?: string | undefined; rejectUnauthorized?: boolean } = {}): Promise<Answer> {
  const limit = AbortSignal.timeout(answerMs);
  return new Promise((resolve, reject) => {
    const send = url.protocol === "https:" ? httpsRequest : httpRequest;
    const fail = (error: Error): void => {
      reject(limit.aborted ? new Error(`no answer from ${url.host} within ${answerMs / 1000} s`) : error);
    };
    const sent = send(url, { ...options, signal: signal ? AbortSignal.any([signal, limit]) : limit }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", fail);
      response.on("end", () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks).toString() });
      });
    });
    sent.on("error", fail);
    sent.end(body);
  });
}
