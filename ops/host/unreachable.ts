/**
 * Detects a Docker host on another machine that does not react: a firewall that drops packets, a VPN that is down, a
 * machine that hangs. Neither ssh nor TCP gives up for minutes, and a connected client waits for ever.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { Socket } from "node:net";
import { StepError } from "../contract/errors.ts";
import { currentContext } from "./docker-context.ts";

/**
 * Times in ms: silence of a client before a message, the host's time to answer a plain question after that, and the
 * interval of this question for a client that may be silent.
 */
export const patience = { tellMs: 5_000, askMs: 15_000, againMs: 60_000 };
/** Times in ms: how long a silent host counts as silent, and how long another client of it waits before it gives up. */
const silence = { keptMs: 30_000, tellMs: 1_000 };

/** A Docker host that does not answer. */
export class UnreachableHost extends StepError {}

/**
 * For a question that may fail: undefined. Rethrows for a silent host, since the next question would wait as long
 * again.
 */
export function unlessUnreachable(error: unknown): undefined {
  if (error instanceof UnreachableHost) throw error;
}

/** The plain question, which any engine answers at once. */
const question = ["version", "--format={{.Server.Version}}"] as const;

/** Whether a host has answered the plain question, by its address. */
const asked = new Map<string, Promise<boolean>>();
/** Until when a host counts as silent, by its address, in ms of the clock. */
const silentUntil = new Map<string, number>();
const told = new Set<string>();

/** Address of the engine of a client with this environment, where it is on another machine. */
function remoteHost(env: NodeJS.ProcessEnv): string | undefined {
  const named = env["DOCKER_HOST"] ?? "";
  const host = named === "" ? currentContext(env)?.host : named;
  return host !== undefined && /^(ssh|tcp|https?):/.test(host) ? host : undefined;
}

/**
 * Asks the plain question. False: the host is completely silent. A host that refuses reports that to the next client
 * itself.
 */
function askPlainly(env: NodeJS.ProcessEnv): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn("docker", question, { env, stdio: "ignore", windowsHide: true });
    const stop = (): void => {
      child.kill("SIGKILL");
    };
    // Only the client that is waited for keeps this process alive.
    child.unref();
    process.once("exit", stop);
    const limit = setTimeout(() => {
      stop();
      resolve(false);
    }, patience.askMs).unref();
    const ended = (): void => {
      clearTimeout(limit);
      process.off("exit", stop);
      resolve(true);
    };
    child.once("error", ended).once("exit", ended);
  });
}

/** Asks a host once for all who need the answer. */
function answers(host: string, env: NodeJS.ProcessEnv): Promise<boolean> {
  const known = asked.get(host);
  if (known !== undefined) return known;
  const answer = askPlainly(env);
  asked.set(host, answer);
  void answer.then((did) => {
    if (did) return;
    silentUntil.set(host, Date.now() + silence.keptMs);
    setTimeout(() => asked.delete(host), silence.keptMs).unref();
  });
  return answer;
}

const said = (stream: unknown): boolean => stream instanceof Socket && stream.bytesRead > 0;
const isSilent = (child: ChildProcess): boolean =>
  child.exitCode === null && child.signalCode === null && !said(child.stdout) && !said(child.stderr);

/** The message on stderr, in place of the client's own. */
const words = (host: string, ms = patience.tellMs + patience.askMs): string =>
  `no answer from the Docker host ${host} within ${ms / 1000} s`;

/**
 * Ends a client of a Docker host that is silent, with `words` on its stderr. A client that only takes long is left
 * alone: its host answers the plain question.
 * @param end stops the client, whatever it has open.
 */
export function watchSilence(child: ChildProcess, env: NodeJS.ProcessEnv, end: () => void): void {
  const host = remoteHost(env);
  if (host === undefined) return;
  const isKnown = (silentUntil.get(host) ?? 0) > Date.now();
  const timer = setTimeout(
    () => {
      if (!isSilent(child)) return;
      const known = asked.has(host);
      if (!known && !told.has(host)) {
        told.add(host);
        process.stderr.write(
          `Waiting for the Docker host ${host}, which has not answered for ${patience.tellMs / 1000} s. Trying for ${patience.askMs / 1000} s more.\n`,
        );
      }
      void answers(host, env).then((did) => {
        if (did || !isSilent(child)) return;
        child.stderr?.push(`${words(host)}\n`);
        // Pushed data is read first.
        setImmediate(end);
      });
    },
    isKnown ? silence.tellMs : patience.tellMs,
  );
  timer.unref();
  child.once("close", () => {
    clearTimeout(timer);
  });
}

/** Clients that were ended because their host fell silent, with the message. */
const silenced = new WeakMap<ChildProcess, string>();

/**
 * Watches a client that may be silent for any time, such as one that follows a log: its Docker host is asked again and
 * again, and the client is ended when the host has fallen silent.
 * @param end stops the client, whatever it has open.
 */
export function watchHost(child: ChildProcess, env: NodeJS.ProcessEnv, end: () => void): void {
  const host = remoteHost(env);
  if (host === undefined) return;
  let timer: NodeJS.Timeout | undefined;
  let over = false;
  const look = async (): Promise<void> => {
    const before = child.stdout instanceof Socket ? child.stdout.bytesRead : 0;
    // Twice: one lost packet is no silence.
    const did = (await askPlainly(env)) || over || (await askPlainly(env));
    if (over) return;
    if (did || (child.stdout instanceof Socket && child.stdout.bytesRead > before)) {
      plan();
      return;
    }
    const said = words(host, 2 * patience.askMs);
    silenced.set(child, said);
    child.stderr?.push(`${said}\n`);
    setImmediate(end);
  };
  const plan = (): void => {
    timer = setTimeout(() => void look(), patience.againMs).unref();
  };
  plan();
  child.once("close", () => {
    over = true;
    clearTimeout(timer);
  });
}

/** The reason for which a client on this process's own streams was ended. Undefined: it ended by itself. */
export const fellSilent = (child: ChildProcess): UnreachableHost | undefined => unreachable(silenced.get(child) ?? "");

/** The error with a hint for a silent host. Undefined: another message. */
export function unreachable(stderr: string, cause?: unknown): UnreachableHost | undefined {
  const [, host = "", seconds = ""] = /no answer from the Docker host (\S+) within ([\d.]+) s/.exec(stderr) ?? [];
  if (host === "") return undefined;
  const { protocol, hostname, port, username } = new URL(host);
  const user = username === "" ? "" : `${username}@`;
  const reach =
    protocol === "ssh:"
      ? `ssh -o ConnectTimeout=10 ${port === "" ? "" : `-p ${port} `}${user}${hostname} true`
      : `nc -vz -w 10 ${hostname} ${port === "" ? "2375" : port}`;
  return new UnreachableHost(
    `the Docker host ${host} does not answer: docker version got nothing from it within ${seconds} s. Packets to it, or its answers, are lost on the way, or its engine hangs`,
    {
      hint: `check that togather:host (or DOCKER_HOST) is right, that a VPN it needs is up, and the firewalls in between; then try ${reach}`,
      cause,
    },
  );
}
