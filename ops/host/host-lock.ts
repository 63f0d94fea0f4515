/**
 * The lock of a deployment on its Docker host, /tmp/togather-deploy-<name>.lock: one `flock`, whoever deploys from
 * wherever with whatever backend.
 *
 * A container holds it for as long as its stdin is open. The other end of that pipe belongs to the program, and to a
 * keeper that lives as long as the deployment's engine (lock-keeper.mjs): the kernel closes it with them, `kill -9`
 * included, also through ssh. Where no kernel can (a machine without power), the container misses their heartbeat.
 */
import { labels, oneOffName } from "../contract/names.ts";
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import type { Writable } from "node:stream";
import * as z from "zod";
import { releaseSchema, slotNameSchema } from "../contract/steps.ts";
import { StepError } from "../contract/errors.ts";
import { endOf } from "../contract/programs.ts";
import { dockerEnvironment } from "./environment.ts";
import { dockerProblem, lastLines, startDocker, tryDocker } from "./docker.ts";
import { oneOffArguments } from "./one-off.ts";
import { deployedBy } from "./deployed-by.ts";

/** The base image of every Dockerfile of this project; has bash and flock. */
const image = "debian:trixie-slim";

const defaultSilenceSeconds = 120;
/** A deployment that has just ended may need a moment to let go. */
const waitSeconds = 1;

export const lockHolderSchema = z.looseObject({
  held_by: z.string(),
  /** Of the deploying process, on its machine. */
  pid: z.number(),
  since: z.string(),
  stack: z.string(),
  active_slot: slotNameSchema,
  slots: z.partialRecord(slotNameSchema, releaseSchema),
  /** By which a deployment knows that the command which runs it holds the lock. */
  lock_id: z.string().optional(),
  /** Where the deployment keeps its state and logs: a step of the client has them from here when it fails. */
  directories: z.object({ stateLocation: z.string(), logLocation: z.string() }).optional(),
});
/** Who holds the lock, since when, for what: the first line of the lock file. */
export type LockHolder = z.infer<typeof lockHolderSchema>;

export interface HostLockRequest {
  /** The deployment's name. */
  name: string;
  /** Docker host; the local engine when empty. */
  host: string;
  holder: LockHolder;
  /** Go on where somebody else holds it. This is noted in the lock file. */
  force: boolean;
  /** `address:port` of the deployment's engine; the lock outlives the program until the engine is gone. Undefined: it ends with the program. */
  engine: string | undefined;
  /** Called when it takes longer than usual. */
  onWait: (why: string) => void;
  /** Called when the lock is lost while the program lives. */
  onLost: (why: string) => void;
  /** Seconds without a sign of life after which the container gives up: the machine that deployed is gone. There is one twelve times as often. */
  silenceSeconds?: number;
}

/**
 * `release` lets go before the program ends, where no engine holds it too; `keepFor` holds it for as long as another process lives, too.
 * `holder` is undefined where who holds it has left no name, e.g. `flock` on the command line.
 */
export type HostLockResult =
  | { held: true; release: () => Promise<void>; keepFor: (pid: number) => void }
  | { held: false; forced: boolean; holder: LockHolder | undefined };

export function lockFile(name: string): string {
  return `/tmp/togather-deploy-${name}.lock`;
}

/** This process as a holder: the Pulumi CLI that runs the program, or the program itself. */
export function thisHolder(
  about: Pick<LockHolder, "stack" | "active_slot" | "slots" | "lock_id" | "directories">,
): LockHolder {
  return {
    held_by: `${deployedBy(process.env)}@${hostname()}`,
    pid: cliPid() ?? process.pid,
    since: new Date().toISOString(),
    ...about,
  };
}

/** The CLI is the language host's parent. Only where /proc tells; never somebody's shell. */
function cliPid(): number | undefined {
  try {
    const stat = readFileSync(`/proc/${process.ppid}/stat`, "utf8");
    // "pid (name) state ppid …": the name may hold anything.
    const pid = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim() === "pulumi" ? pid : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Runs in the container with the host's /tmp at /host. Says "held", or "busy" and what the lock file holds.
 * The file is opened without O_CREAT: in /tmp the kernel may forbid that for another user's file, even to root.
 * Who removes the file removes no lock: once a second its holder looks whether it still stands there, and locks what stands there
 * instead. On a disk that is full nobody can leave a name, and the lock holds all the same. A file in which nobody has left a name may be such a one: who wants it waits until a holder would have taken it.
 */
const script = `
file=/host/togather-deploy-$1.lock holder=$2 force=$3 silence=$4 wait=$5
note() { printf '%s\\n' "$1" | dd of="$file" conv=nocreat,notrunc oflag=append status=none; }
own() { truncate --no-create --size=0 "$file"; note "$holder" || true; }
stays() {
  [ /proc/$$/fd/9 -ef "$file" ] && return
  [ -e "$file" ] || : > "$file"
  exec 8< "$file" && flock --exclusive --nonblock 8 && [ /proc/$$/fd/8 -ef "$file" ] && own && exec 9<&8 8<&-
}
while :; do
  [ -e "$file" ] || : > "$file" || exit 3
  [ -s "$file" ] || sleep 2
  [ -e "$file" ] || continue
  exec 9< "$file" || exit 3
  flock --exclusive --wait "$wait" 9 || break
  [ /proc/$$/fd/9 -ef "$file" ] || continue
  own
  echo held
  silent=0 why=lost
  while [ "$silent" -lt "$silence" ] && stays; do
    # It ends with 1 at the end of stdin, with more than 128 after its time limit.
    IFS= read -r -t 1 _ && ended=0 || ended=$?
    case $ended in 0) silent=0 ;; 1) why=released; break ;; *) silent=$((silent + 1)) ;; esac
  done
  [ /proc/$$/fd/9 -ef "$file" ] && note "{\\"$why\\":\\"$(date -u +%FT%TZ)\\"}"
  exit
done
echo busy
cat "$file"
[ "$force" = true ] && note "{\\"forced_by\\":$holder}"
exit 0
`;

function startContainer({
  name,
  host,
  holder,
  force,
  silenceSeconds = defaultSilenceSeconds,
}: HostLockRequest): ChildProcessWithoutNullStreams {
  const told = JSON.stringify(holder);
  return startDocker(
    oneOffArguments({
      image,
      pull: true,
      name: oneOffName(name, "lock", randomBytes(4).toString("hex")),
      labels: { [labels.lock]: name, [labels.lockHolder]: told },
      interactive: true,
      // It talks to nobody; a network namespace of its own takes as long to make as all the rest.
      network: "host",
      capabilities: ["DAC_OVERRIDE"],
      options: ["--userns=host", "--stop-signal=SIGKILL", "--volume=/tmp:/host"],
      command: ["bash", "-c", script, "bash", name, told, String(force), String(silenceSeconds), String(waitSeconds)],
    }),
    // In a session of its own: Ctrl-C ends a deployment in order, and must not end its lock before.
    { host, stdin: "open", detached: true },
  );
}

/**
 * Takes the lock, and holds it until the program and the engine are gone.
 * @throws {StepError} when there is no telling whether it is free.
 */
export async function takeHostLock(request: HostLockRequest): Promise<HostLockResult> {
  const client = startContainer(request);
  const { stdin, stdout, stderr } = client;
  const gone = endOf(client);
  let said = "";
  const held = new Promise<"held">((resolve) => {
    stdout.setEncoding("utf8").on("data", (text: string) => {
      said += text;
      if (said.startsWith("held\n")) resolve("held");
    });
  });
  let complained = "";
  const slow = setTimeout(() => {
    request.onWait("it has not answered yet");
  }, 5_000);
  stderr.setEncoding("utf8").on("data", (text: string) => {
    complained += text;
    if (!isImageMissing(text)) return;
    clearTimeout(slow);
    request.onWait(`it pulls ${image}`);
  });
  const outcome = await Promise.race([held, gone]);
  clearTimeout(slow);
  if (outcome !== "held") {
    stdin.destroy();
    if (outcome.exitCode !== 0 || !said.startsWith("busy\n"))
      throw lockProblem(complained, outcome.error, request.name);
    return { held: false, forced: request.force, holder: readHolder(said.slice("busy\n".length)) };
  }
  const heartbeatMs = ((request.silenceSeconds ?? defaultSilenceSeconds) * 1000) / 12;
  const heartbeat = setInterval(() => stdin.write("\n"), heartbeatMs).unref();
  let released = false;
  void gone.then(() => {
    if (!released) request.onLost(complained.trim());
  });
  // The lock waits for the program, never the program for the lock.
  for (const handle of [client, stdin, stdout, stderr]) (handle as unknown as { unref(): void }).unref();
  if (request.engine !== undefined) startKeeper(stdin, request.engine, heartbeatMs);
  const release = async (): Promise<void> => {
    released = true;
    clearInterval(heartbeat);
    client.ref();
    stdin.end();
    await gone;
  };
  return {
    held: true,
    release,
    keepFor: (pid) => {
      startKeeper(stdin, `pid:${pid}`, heartbeatMs);
    },
  };
}

/** Holds the other end of the lock's pipe for as long as the engine, or a process, lives. @param whose `address:port` or `pid:number`. */
function startKeeper(pipe: Writable, whose: string, heartbeatMs: number): void {
  const keeper = spawn(process.execPath, [join(import.meta.dirname, "lock-keeper.mjs"), whose, String(heartbeatMs)], {
    env: dockerEnvironment(""),
    stdio: [pipe, "ignore", "ignore"],
    detached: true,
    windowsHide: true,
  });
  keeper.on("error", () => undefined);
  keeper.unref();
}

function isImageMissing(stderr: string): boolean {
  return /unable to find image/i.test(stderr);
}

/** The holder that a lock file or a label names. */
export function readHolder(text: string): LockHolder | undefined {
  const lines = text.split("\n").filter(Boolean);
  // Who holds it now has written nothing yet, or never will.
  if (lines.some((line) => /^\{"(released|lost)"/.test(line))) return undefined;
  try {
    return lockHolderSchema.parse(JSON.parse(lines[0] ?? ""));
  } catch {
    return undefined;
  }
}

function lockProblem(stderr: string, cause: Error | undefined, name: string): StepError {
  if (isImageMissing(stderr)) {
    return new StepError(`the Docker host has no image ${image}, and can't pull it: ${lastLines(stderr, 1)}`, {
      hint: `docker save ${image} | DOCKER_HOST=… docker load, from a machine that has it`,
    });
  }
  const problem = dockerProblem(stderr.replace(/^docker: /gm, ""), cause);
  return new StepError(`${lockFile(name)} can't be locked on the Docker host: ${problem.message}`, {
    hint: problem.hint,
    cause,
  });
}

/** Who holds the lock at this moment, as a deployment's container tells it; takes nothing. Undefined where nobody does, or nobody can tell. */
export async function hostLockHolder(name: string, host: string): Promise<LockHolder | undefined> {
  return readHolder(await lockLabels(name, host));
}

/** Whether the lock is held under this id. */
export async function isLockHeldAs(id: string, name: string, host: string): Promise<boolean> {
  return (await lockLabels(name, host)).split("\n").some((label) => readHolder(label)?.lock_id === id);
}

async function lockLabels(name: string, host: string): Promise<string> {
  const asked = tryDocker(
    ["ps", `--filter=label=${labels.lock}=${name}`, `--format={{.Label "${labels.lockHolder}"}}`],
    {
      host,
      timeoutMs: 10_000,
    },
  );
  return asked.then(
    ({ stdout }) => stdout,
    () => "",
  );
}

/** Ids of the containers that hold the lock: it ends with them. Empty where nobody holds it by a container, or nobody can tell. */
export async function lockContainers(name: string, host: string): Promise<string[]> {
  const { ok, stdout } = await tryDocker(["ps", "--quiet", `--filter=label=${labels.lock}=${name}`], { host });
  return ok ? stdout.split("\n").filter(Boolean) : [];
}
