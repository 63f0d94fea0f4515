import { existsSync, readdirSync, readFileSync, rmSync, statfsSync } from "node:fs";
import { homedir, hostname } from "node:os";
import { dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import * as z from "zod";
import { hostLockHolder } from "../../ops/host/host-lock.ts";
import { hasStarted } from "./own-runs.ts";

/** One of the lock files that a backend of files or objects keeps for a stack. It has no lifetime: who is killed leaves it. */
export interface BackendLock {
  /** Where it is, as a URL. */
  url: string;
  user: string;
  host: string;
  pid: number;
  /** As Pulumi writes it, RFC 3339. */
  since: string;
}

/** Pulumi's own refusal while others hold a lock. */
export const isLocked = (said: string): boolean => /the stack is currently locked by \d+ lock/.test(said);

/** The locks that Pulumi's refusal names. */
export function locksIn(said: string): BackendLock[] {
  return [...said.matchAll(/^\s*(\S+): created by (\S+)@(\S+) \(pid (\d+)\) at (\S+)/gm)].map(
    ([, url = "", user = "", host = "", pid, since = ""]) => ({ url, user, host, pid: Number(pid), since }),
  );
}

/**
 * The state of the process that made a lock: "elsewhere" is another machine, of which nothing is known; "unknown" one with this machine's name,
 * which may be another.
 */
export type HolderState = "gone" | "alive" | "elsewhere" | "unknown";

/** The same in words. */
export const holderWords: Readonly<Record<HolderState, string>> = {
  gone: "that process is gone",
  alive: "that process is running on this machine",
  elsewhere: "another machine than this one, of which nothing can be told from here",
  unknown:
    "no process of this machine; perhaps one of another machine of the same name, of which nothing can be told from here",
};

/** Whether the process lives, and is what made the lock: pids are used again. */
function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: somebody else's.
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const name = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
    // A zombie is dead; what has the number now and is no Pulumi took no lock.
    return name === "pulumi" && stat[stat.lastIndexOf(")") + 2] !== "Z";
  } catch {
    // No /proc: the pid alone has to do.
    return true;
  }
}

/** Filesystems that several machines may have mounted, by their magic numbers: NFS, SMB, CIFS, SMB2, Ceph, 9P, AFS, FUSE (sshfs, buckets). */
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

/** The directory of a backend of files; undefined for any other. */
export function backendDirectory(url: string, cwd: string): string | undefined {
  if (!url.startsWith("file://")) return undefined;
  const path = decodeURI(url.slice("file://".length).replace(/\?.*$/, ""));
  return path.startsWith("~") ? join(homedir(), path.slice(1)) : resolve(cwd, path);
}

/** The locks of a stack in a backend of files. Takes none itself. */
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
      // Released at this moment.
      return [];
    }
  });
}

/** A deployment that has just been killed lets go of its host within this time. */
const letGoMs = 3_000;

/**
 * Whether every lock was left behind by a process of this machine that is gone, while nobody deploys on the Docker host. Of
 * a process elsewhere nobody here can tell.
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
 * Removes locks. Those in files one by one: by their names, so that none goes that was made since.
 * @param cancel `pulumi cancel`, for backends that are no files: it removes whatever there is.
 */
export async function removeLocks(locks: readonly BackendLock[], cancel: () => Promise<void>): Promise<void> {
  if (locks.length > 0 && locks.every(({ url }) => url.startsWith("file://")))
    for (const { url } of locks) rmSync(fileURLToPath(url), { force: true });
  else await cancel();
}

/** An operator's ways out of locks that are not provably stale. */
export function heldText(locks: readonly BackendLock[], unlock: string): string {
  const words = { ...holderWords, gone: `${holderWords.gone}, but somebody deploys on the Docker host` };
  return [
    "Pulumi's state is locked. Nothing was changed.",
    ...locks.map((lock) => `  held by: ${describeLock(lock)}: ${words[holderOf(lock)]}`),
    `  → wait until it has ended; or, once it is certain that it is gone: ${unlock}`,
  ].join("\n");
}
