/** Loads a snapshot's dump into an empty database, through psql or pg_restore, which stop at the first error. */
import { createReadStream } from "node:fs";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { StepContext } from "../../contract/context.ts";
import { skipBytes, withoutSuperuserStatements } from "./dump-filter.ts";
import { loadDirectory, loadFilters, loadingPsql, ownersOfExtensions, type LoadTarget } from "./load-directory.ts";
import { failureOf } from "../../contract/programs.ts";
import type { Manifest } from "../../contract/manifest.ts";
import { transferProgress } from "../../contract/units.ts";
import { withUnpacking } from "./unpack.ts";

const progressMs = 2_000;

/**
 * Restores without the roles, which belong to the whole server.
 * @throws {StepError} with the message of psql or pg_restore.
 */
export async function loadDump(
  path: string,
  manifest: Manifest,
  target: LoadTarget,
  context: StepContext,
): Promise<void> {
  if (manifest.format === "directory") await loadDirectory(path, manifest, target, context);
  else await loadFile(path, manifest, target, context);
}

async function loadFile(path: string, manifest: Manifest, target: LoadTarget, context: StepContext): Promise<void> {
  const { log, signal } = context;
  const stop = new AbortController();
  const stoppable = { ...context, signal: AbortSignal.any([signal, stop.signal]) };
  const psql = loadingPsql(target.connection, stoppable);
  let bytes = 0;
  const started = performance.now();
  const counting = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      done(null, chunk);
    },
  });
  const progress = setInterval(() => {
    const all = bytes >= manifest.plain_bytes - manifest.roles_bytes;
    log.info(
      all
        ? "restore: all rows are in, indexes and constraints are being made"
        : `restore: ${transferProgress(bytes, manifest.plain_bytes, performance.now() - started)}`,
    );
  }, progressMs);
  try {
    await withUnpacking(manifest, stoppable, async ({ input, output, failure: unpackingFailure }) => {
      const parts = [
        pipeline(createReadStream(path), input),
        pipeline([
          output,
          skipBytes(manifest.roles_bytes),
          counting,
          ...(target.superuser ? [] : [withoutSuperuserStatements()]),
          ...ownersOfExtensions(manifest),
          ...loadFilters(manifest, target),
          psql.stdin,
        ]),
      ].map((part) => part.catch(() => undefined));
      const failure = await failureOf(psql, "restoring");
      if (failure !== undefined) stop.abort();
      await Promise.all(parts);
      const broken = await unpackingFailure();
      signal.throwIfAborted();
      if (failure !== undefined) throw failure;
      if (broken !== undefined) throw broken;
    });
  } finally {
    clearInterval(progress);
  }
}
