/**
 * The lock of a deployment on its Docker host, /tmp/togather-deploy-<name>.lock: one `flock` for everybody, on any
 * machine and with any backend.
 * A container holds it for as long as its stdin is open. The other end of that pipe belongs to the program, and to a
 * keeper that lives as long as the deployment's engine (lock-keeper.mjs). The kernel closes the pipe when they end,
 * even after `kill -9`, and also through ssh. When the kernel itself can't (a machine without power), the container
 * misses their heartbeat.
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

/** The base image of all Dockerfiles of this project; it has bash and flock. */
const image = "debian:trixie-slim";

const defaultSilenceSeconds = 120;
/** Seconds that a deployment which has just ended may need to release the lock. */
const waitSeconds = 1;

export const lockHolderSchema = z.looseObject({
  held_by: z.string(),
  /** Process id of the deploying process, on its machine. */
  pid: z.number(),
  since: z.string(),
  stack: z.string(),
  active_slot: slotNameSchema,
  slots: z.partialRecord(slotNameSchema, releaseSchema),
  /** With this id a deployment knows that the command which runs it holds the lock. */
  lock_id: z.string().optional(),
  /** Directories of the deployment's state and logs, for a client step that fails. */
  directories: z.object({ stateLocation: z.string(), logLocation: z.string() }).optional(),
});
/** The holder of the lock, since when, and for what: the first line of the lock file. */
export type LockHolder = z.infer<typeof lockHolderSchema>;

export interface HostLockRequest {
  /** The deployment's name. */
  name: string;
  /** Docker host; the local engine when empty. */
  host: string;
  holder: LockHolder;
  /** Continue although somebody else holds it. The lock file records that. */
  force: boolean;
  /**
   * `address:port` of the deployment's engine: the lock outlives the program until the engine is gone. Undefined: it
   * ends with the program.
   */
  engine: string | undefined;
  /** Called when it takes unusually long. */
  onWait: (why: string) => void;
  /** Called when the lock is lost while the program lives. */
  onLost: (why: string) => void;
  /**
   * Seconds without a sign of life after which the container gives up: the machine that deployed is gone. Signs of life
   * are sent twelve times as often.
   */
  silenceSeconds?: number;
}

/**
 * `release` releases the lock before the program ends, where no engine holds it too. `keepFor` also holds it for as
 * long as another process lives. `holder` is undefined where the holder has left no name, e.g. `flock` on the command
 * line.
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

/** The pid of the CLI, the language host's parent. Only where /proc shows it; never a user's shell. */
function cliPid(): number | undefined {
  try {
    const stat = readFileSync(`/proc/${process.ppid}/stat`, "utf8");
    // "pid (name) state ppid …": the name may contain any characters.
    const pid = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim() === "pulumi" ? pid : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Runs in the container with the host's /tmp at /host. Prints "held", or "busy" and the lock file's content. The file
 * is opened without O_CREAT: in /tmp the kernel may forbid that for another user's file, even to root. Removing the
 * file does not release the lock: once a second the holder checks that the path still is its file, and otherwise locks
 * the new file there. On a full disk no name can be written, but the lock holds all the same. A file without a name may
 * be such a new one: whoever wants it first waits as long as a holder would need to take it.
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
      // It uses no network; a new network namespace would take as long to create as everything else together.
      network: "host",
      capabilities: ["DAC_OVERRIDE"],
      options: ["--userns=host", "--stop-signal=SIGKILL", "--volume=/tmp:/host"],
      command: ["bash", "-c", script, "bash", name, told, String(force), String(silenceSeconds), String(waitSeconds)],
    }),
    // In a new session: Ctrl-C ends a deployment in order, and must not release its lock earlier.
    { host, stdin: "open", detached: true },
  );
}

/**
 * Takes the lock, and holds it until the program and the engine are gone.
 * @throws {StepError} when it can't be known whether the lock is free.
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
  // The lock must not keep the program from ending.
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

/**
 * Holds the other end of the lock's pipe for as long as the engine, or a process, lives.
 * @param whose `address:port` or `pid:number`.
 */
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

/** The holder in a lock file or a label. */
export function readHolder(text: string): LockHolder | undefined {
  const lines = text.split("\n").filter(Boolean);
  // The current holder has not written its name yet, or never will.
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

/** The current holder of the lock, from a deployment's container; takes no lock. Undefined: nobody, or unknown. */
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

/** Ids of the containers that hold the lock: it ends with them. Empty: no container holds it, or unknown. */
export async function lockContainers(name: string, host: string): Promise<string[]> {
  const { ok, stdout } = await tryDocker(["ps", "--quiet", `--filter=label=${labels.lock}=${name}`], { host });
  return ok ? stdout.split("\n").filter(Boolean) : [];
}
