import type { Command } from "commander";
import { tryDocker } from "../../ops/host/docker.ts";
import { hostLockHolder, lockContainers, lockFile, type LockHolder } from "../../ops/host/host-lock.ts";
import { findHalfMade, type HalfMade } from "../../ops/host/half-made.ts";
import { resourceName, type PendingOperation } from "../../ops/host/pending-operations.ts";
import { readContext, withCommonOptions, type CommonOptions } from "../context.ts";
import {
  areStale,
  describeLock,
  holderOf,
  holderWords,
  type BackendLock,
  type HolderState,
} from "../deploy/backend-lock.ts";
import { PulumiStack } from "../deploy/pulumi-stack.ts";
import { exitCodes } from "../exit-codes.ts";
import { at, invocation } from "../output.ts";

interface UnlockOptions extends CommonOptions {
  force?: boolean;
}

/** The result of `unlock` as JSON. */
interface UnlockResult {
  /** No lock or other obstacle was found: a deployment can begin. */
  ok: boolean;
  exitCode: number;
  hostLock: (LockHolder & { removed: boolean }) | null;
  /** Null: the backend can't be asked. */
  backendLocks: (BackendLock & { holder: HolderState; removed: boolean })[] | null;
  pendingOperations: (PendingOperation & { cleared: boolean })[];
  /** Objects that the next `up` removes and creates again. */
  halfMade: HalfMade[];
}

function text(result: UnlockResult, name: string, stack: string): string {
  const { hostLock, backendLocks, pendingOperations, halfMade } = result;
  const lines = [
    hostLock === null
      ? `lock on the Docker host (${lockFile(name)}): free`
      : `lock on the Docker host (${lockFile(name)}): ${hostLock.removed ? "REMOVED from" : "held by"} ${hostLock.held_by} (pid ${hostLock.pid}) since ${at(hostLock.since)}, stack ${hostLock.stack}`,
    ...(backendLocks === null
      ? [
          "lock of Pulumi's backend: can't be looked at, since the backend is not a directory; a deployment says who holds it",
        ]
      : backendLocks.length === 0
        ? ["lock of Pulumi's backend: free"]
        : backendLocks.map(
            (lock) =>
              `lock of Pulumi's backend: ${lock.removed ? "removed, it was left by" : "held by"} ${describeLock(lock)}: ${holderWords[lock.holder]}`,
          )),
    ...(pendingOperations.length === 0
      ? ["pending operations: none"]
      : pendingOperations.map(
          ({ operation, urn, cleared }) =>
            `pending operation: ${operation} ${resourceName(urn)}: ${cleared ? "cleared, the next deployment does it again if it is wanted" : "left, for the next deployment to make up for"}`,
        )),
    ...halfMade.map(
      ({ kind, name: what }) =>
        `half-made: the ${kind} ${what}, which Pulumi does not know; the next deployment removes it and makes it again`,
    ),
  ];
  if (!result.ok)
    lines.push(
      `  → wait until that has ended; or, once it is certain that it is gone: ${invocation(`unlock --force --stack ${stack}`)}`,
    );
  return lines.join("\n");
}

export function unlockCommand(program: Command, end: (code: number) => void): void {
  withCommonOptions(program.command("unlock"))
    .summary("show who holds a lock, and free what a killed run has left")
    .description(
      "Shows who holds the lock on the Docker host and the lock of Pulumi's backend, and what a killed run has left pending. Frees a backend lock whose process on this machine is gone while nobody deploys. The lock on the Docker host is never stale.",
    )
    .option("--force", "free every lock, whoever holds it; a running deployment loses its lock and ends")
    .action(async (_options, command: Command) => {
      const options = command.optsWithGlobals<UnlockOptions>();
      const { file, settings, output } = await readContext(options);
      const force = options.force === true;
      const { name, host } = settings;
      const pulumi = await PulumiStack.open(file.stack);
      const [found, state, holder] = await Promise.all([
        pulumi.locks(),
        pulumi.interrupted(),
        hostLockHolder(name, host),
      ]);

      let hostRemoved = false;
      if (force && holder !== undefined) {
        output.warn(
          `--force: the lock on the Docker host is taken from ${holder.held_by} (pid ${holder.pid}). A deployment that still runs there ends; until then two may run at once.`,
        );
        const containers = await lockContainers(name, host);
        hostRemoved = containers.length > 0 && (await tryDocker(["rm", "--force", ...containers], { host })).ok;
      }
      const locks = found ?? [];
      const stale = await areStale(locks, settings);
      const removed = locks.length > 0 && (stale || force);
      if (removed && !stale)
        output.warn(
          `--force: Pulumi's lock is taken from ${locks.map((lock) => `${describeLock(lock)}, ${holderWords[holderOf(lock)]}`).join("; ")}. If it still runs, both write the same state.`,
        );
      // With --force, a backend that can't be asked is unlocked all the same.
      if (removed || (force && found === undefined)) await pulumi.unlock(locks);

      const free = (holder === undefined || hostRemoved) && (removed || locks.length === 0);
      const halfMade = free && state !== undefined ? await findHalfMade({ name, host, serving: undefined }, state) : [];
      // The pending operation identifies half-made objects: the next deployment needs it.
      const clear = free && state !== undefined && state.pending.length > 0 && halfMade.length === 0;
      if (clear) await pulumi.clearPending();

      const ending = free ? exitCodes.ok : exitCodes.lock;
      const result: UnlockResult = {
        ok: free,
        exitCode: ending.code,
        hostLock: holder === undefined ? null : { ...holder, removed: hostRemoved },
        backendLocks: found === undefined ? null : locks.map((lock) => ({ ...lock, holder: holderOf(lock), removed })),
        pendingOperations: (state?.pending ?? []).map((operation) => ({ ...operation, cleared: clear })),
        halfMade: halfMade.map(({ kind, name: what }) => ({ kind, name: what })),
      };
      output.result(result, () => text(result, name, file.stack));
      end(ending.code);
    });
}
