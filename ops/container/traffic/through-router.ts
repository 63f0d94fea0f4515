/** Requests to the router's public port, from within the private network. */
import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import type { Release, SlotName } from "../../contract/steps.ts";
import { messageOf } from "../../contract/errors.ts";
import { failingChecks, isRelease, parseHealth } from "../../contract/health.ts";
import { ask, type Answer, type AskOptions } from "./http.ts";

/** Rounds of confirmation: a single lost answer does not undo a release. */
const rounds = 3;
const betweenRoundsMs = 300;
/** The router's HTTPS port in the private network, for a router that redirects plain HTTP to HTTPS. */
const routerHttpsPort = "8443";
/** The certificate is for the public name. In the private network the address is enough. */
const unnamed = { rejectUnauthorized: false };

/** Gives the header that leads past the router's maintenance. */
export type Pass = () => Promise<Record<string, string>>;

/** Whether the router answers for maintenance, and not for a slot. */
const isMaintenance = ({ status, headers }: Answer): boolean =>
  status === 503 && headers["x-togather-slot"] === "maintenance";

/** A request, sent again past maintenance where that is on: the slot that serves is to be checked all the same. */
async function askPast(url: URL, options: AskOptions, pass: Pass | undefined): Promise<Answer> {
  const answer = await ask(url, options);
  return pass !== undefined && isMaintenance(answer)
    ? ask(url, {
        ...options,
        headers: { ...(options.headers as Record<string, string> | undefined), ...(await pass()) },
      })
    : answer;
}

/** The router to ask, and the slot and release that are expected to answer. */
export interface Expected {
  /** Past maintenance, where that is on. */
  pass?: Pass | undefined;
  routerUrl: string;
  healthPath: string;
  activeSlot: SlotName;
  release: Release;
}

/** A connection to the router from before the switch. */
export type Witness = HttpAgent | HttpsAgent;

/**
 * An agent that keeps one connection to the router open, after one request. Before the first switch the router answers
 * 503, which counts as connected.
 */
export async function openWitness({
  routerUrl,
  healthPath,
}: Pick<Expected, "routerUrl" | "healthPath">): Promise<Witness> {
  const url = new URL(healthPath, routerUrl);
  const plain = new HttpAgent({ keepAlive: true, maxSockets: 1 });
  const answer = await ask(url, { agent: plain }).catch(() => undefined);
  if (answer?.status !== 308) return plain;
  plain.destroy();
  const encrypted = new HttpsAgent({ keepAlive: true, maxSockets: 1, ...unnamed });
  await ask(encryptedUrl(url), { agent: encrypted }).catch(() => undefined);
  return encrypted;
}

function encryptedUrl(url: URL): URL {
  const encrypted = new URL(url);
  encrypted.protocol = "https:";
  encrypted.port = routerHttpsPort;
  return encrypted;
}

/** A request over a new connection, by HTTPS where the router redirects plain HTTP to HTTPS. */
export async function askThroughRouter(url: URL, options: AskOptions = {}, pass?: Pass): Promise<Answer> {
  const answer = await askPast(url, options, pass);
  const moved =
    answer.status === 308 &&
    (answer.headers["x-togather-slot"] ?? "") === "" &&
    answer.headers.location?.startsWith("https:") === true;
  return moved ? askPast(encryptedUrl(url), { ...options, ...unnamed }, pass) : answer;
}

/** A problem with an answer of the health endpoint. Undefined: none. */
export function healthProblem({ status, body }: Answer, release: Release): string | undefined {
  const health = parseHealth(body);
  const failing = health === undefined ? [] : failingChecks(health);
  const why = failing.length === 0 ? "" : ` (${failing.join("; ")})`;
  if (status < 200 || status > 299) return `its health endpoint answers ${status}${why}`;
  if (health?.status === "unhealthy") return `it says that it is unhealthy${why}`;
  if (health === undefined) return `its health endpoint answers ${status}, but not with a known health document`;
  if (isRelease(health, release)) return undefined;
  return `it is ${health.version}${health.gitCommit === undefined ? "" : ` (${health.gitCommit})`}, not ${release.version} (${release.commit})`;
}

/**
 * The slot that answered, by the router's header, where it is not the expected one. Undefined: the expected one
 * answered.
 */
export function wrongSlot({ headers }: Answer, expected: SlotName): string | undefined {
  const served = headers["x-togather-slot"];
  return served === expected ? undefined : typeof served === "string" && served !== "" ? served : "no slot";
}

/** @throws unless every connection, from before the switch and new, reaches the target and its release. */
export async function confirm(
  { routerUrl, healthPath, activeSlot, release, pass }: Expected,
  witnesses: readonly Witness[],
): Promise<void> {
  const url = new URL(healthPath, routerUrl);
  let problems: string[] = [];
  for (let round = 0; round < rounds; round++) {
    if (round > 0) await sleep(betweenRoundsMs);
    const secure = witnesses.some((witness) => witness instanceof HttpsAgent);
    const requests = [
      ...witnesses.map((agent) => askPast(agent instanceof HttpsAgent ? encryptedUrl(url) : url, { agent }, pass)),
      ...witnesses.map(() => askPast(secure ? encryptedUrl(url) : url, secure ? unnamed : {}, pass)),
    ];
    const outcomes = await Promise.allSettled(requests);
    problems = outcomes.flatMap((outcome) => {
      if (outcome.status === "rejected") return [messageOf(outcome.reason)];
      const served = wrongSlot(outcome.value, activeSlot);
      if (served !== undefined) return [`a request went to ${served}`];
      return healthProblem(outcome.value, release) ?? [];
    });
    if (problems.length === 0) return;
  }
  throw new Error([...new Set(problems)].join("; "));
}
