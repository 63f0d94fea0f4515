import { existsSync, readdirSync, readFileSync, rmSync, statfsSync } from "node:fs";
import { homedir, hostname } from "node:os";
import { dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import * as z from "zod";
import { hostLockHolder } from "../../ops/host/host-lock.ts";
import { hasStarted } from "./own-runs.ts";

/** A lock file of a stack in a backend of files or objects. It does not expire: a killed process leaves it. */
export interface BackendLock {
  /** URL of the lock file. */
  url: string;
  user: string;
  host: string;
  pid: number;
  /** Start time in Pulumi's notation, RFC 3339. */
  since: string;
}

/** Whether Pulumi refused because others hold a lock. */
export const isLocked = (said: string): boolean => /the stack is currently locked by \d+ lock/.test(said);

/** The locks named in Pulumi's refusal. */
export function locksIn(said: string): BackendLock[] {
  return [...said.matchAll(/^\s*(\S+): created by (\S+)@(\S+) \(pid (\d+)\) at (\S+)/gm)].map(
    ([, url = "", user = "", host = "", pid, since = ""]) => ({ url, user, host, pid: Number(pid), since }),
  );
}

/**
 * The state of the process that made a lock. "elsewhere": another machine, whose processes are unknown here; "unknown":
 * a machine with this one's name, which may be another.
 */
export type HolderState = "gone" | "alive" | "elsewhere" | "unknown";

/** The states in words. */
export const holderWords: Readonly<Record<HolderState, string>> = {
  gone: "that process is gone",
  alive: "that process is running on this machine",
  elsewhere: "another machine than this one, of which nothing can be told from here",
  unknown:
    "no process of this machine; perhaps one of another machine of the same name, of which nothing can be told from here",
};

/** Whether the process lives and is the one that made the lock: pids are reused. */
function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: another user's process.
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
    // A zombie counts as dead; another program with the same pid took no lock.
    return name === "pulumi" && stat[stat.lastIndexOf(")") + 2] !== "Z";
  } catch {
    // No /proc: the pid alone decides.
    return true;
  }
}

/**
 * Filesystems that several machines may have mounted, by their magic numbers: NFS, SMB, CIFS, SMB2, Ceph, 9P, AFS, FUSE
 * (sshfs, buckets).
 */
const sharedFilesystems: ReadonlySet<number> = new Set([
  0x6969, 0x517b, 0xff534d42, 0xfe534d42, 0x00c36400, 0x01021997, 0x5346414f, 0x65735546,
]);

/** Whether a lock is in a directory that only this machine has. */
function isHere(url: string): boolean {
  if (!url.startsWith("file://")) return false;
  try {
    return !sharedFilesystems.has(statfsSync(dirname(fileURLToPath(url))).type);
  } catch {
    return false;
  }
}

/**
 * Looks for the process that made a lock.
 * @param isOwn whether this machine has started that process.
 */
export function holderOf(lock: BackendLock, here = hostname(), isOwn: typeof hasStarted = hasStarted): HolderState {
  const { url, host, pid } = lock;
  if (host !== here) return "elsewhere";
  if (lives(pid)) return "alive";
  return isHere(url) || isOwn(lock) ? "gone" : "unknown";
}

/** `alice@laptop (pid 4711) since 2026-01-28T14:30:22Z` */
export const describeLock = ({ user, host, pid, since }: BackendLock): string =>
  `${user}@${host} (pid ${pid}) since ${since}`;

const lockFileSchema = z.looseObject({
  pid: z.number(),
  username: z.string(),
  hostname: z.string(),
  timestamp: z.string(),
});

/** The directory of a file backend. Undefined: another backend. */
export function backendDirectory(url: string, cwd: string): string | undefined {
  if (!url.startsWith("file://")) return undefined;
  const path = decodeURI(url.slice("file://".length).replace(/\?.*$/, ""));
  return path.startsWith("~") ? join(homedir(), path.slice(1)) : resolve(cwd, path);
}

/** The locks of a stack in a file backend. Takes no lock. */
export function locksOf(directory: string, project: string, stack: string): BackendLock[] {
  const locks = join(directory, ".pulumi", "locks", "organization", project, stack);
  if (!existsSync(locks)) return [];
  return readdirSync(locks).flatMap((file) => {
    if (!file.endsWith(".json")) return [];
    try {
      const {
        pid,
        username,
        hostname: host,
        timestamp,
      } = lockFileSchema.parse(JSON.parse(readFileSync(join(locks, file), "utf8")));
      return [{ url: pathToFileURL(join(locks, file)).href, user: username, host, pid, since: timestamp }];
    } catch {
      // Released in this moment.
      return [];
    }
  });
}

/** A deployment that was just killed releases its lock on the host within this time, in ms. */
const letGoMs = 3_000;

/**
 * Whether every lock was left by a dead process of this machine, while nobody deploys on the Docker host. Processes of
 * another machine can't be checked here.
 * @param ours this process holds the lock on the Docker host: then nobody else deploys there.
 */
export async function areStale(
  locks: readonly BackendLock[],
  { name, host }: { name: string; host: string },
  ours = false,
): Promise<boolean> {
  if (locks.length === 0 || !locks.every((lock) => holderOf(lock) === "gone")) return false;
  if (ours) return true;
  const end = Date.now() + letGoMs;
  while ((await hostLockHolder(name, host)) !== undefined) {
    if (Date.now() > end) return false;
    await sleep(200);
  }
  return true;
}

/**
 * Removes locks. Lock files are removed by their names, so that no newer lock is removed.
 * @param cancel runs `pulumi cancel`, for other backends: it removes every lock of the stack.
 */
export async function removeLocks(locks: readonly BackendLock[], cancel: () => Promise<void>): Promise<void> {
  if (locks.length > 0 && locks.every(({ url }) => url.startsWith("file://")))
    for (const { url } of locks) rmSync(fileURLToPath(url), { force: true });
  else await cancel();
}

/** Instructions for an operator about locks that are not provably stale. */
export function heldText(locks: readonly BackendLock[], unlock: string): string {
  const words = { ...holderWords, gone: `${holderWords.gone}, but somebody deploys on the Docker host` };
  return [
    "Pulumi's state is locked. Nothing was changed.",
    ...locks.map((lock) => `  held by: ${describeLock(lock)}: ${words[holderOf(lock)]}`),
    `  → wait until it has ended; or, once it is certain that it is gone: ${unlock}`,
  ].join("\n");
}
