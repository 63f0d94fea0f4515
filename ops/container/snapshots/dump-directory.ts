/** A dump in pg_dump's directory format: a file for each table, made by several processes at once. */
import { writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import type { StepContext } from "../../contract/context.ts";
import { dumpRoles, ownerOptions, type Dump, type DumpSource } from "./dump.ts";
import { directoryBytes, measureDirectory } from "./measure-directory.ts";
import { succeed } from "../../contract/programs.ts";
import { rolesFile } from "../../contract/snapshot-format.ts";
import { transferProgress } from "../../contract/units.ts";

const progressMs = 2_000;

/** Writes the dump into a new directory. It is not flushed to disk on return. */
export async function dumpDirectory(directory: string, source: DumpSource, context: StepContext): Promise<Dump> {
  const { log, signal } = context;
  const roles = await dumpRoles(source, context);
  const started = performance.now();
  const pgDump = execa(
    "pg_dump",
    [
      "--format=directory",
      "--no-subscriptions",
      `--jobs=${availableParallelism()}`,
      "--compress=zstd:1",
      "--no-password",
      "--lock-wait-timeout=60s",
      `--snapshot=${source.snapshot}`,
      ...ownerOptions(source),
      `--file=${directory}`,
    ],
    {
      env: { PATH: context.env["PATH"], LANG: "C.UTF-8", ...source.environment },
      extendEnv: false,
      cancelSignal: signal,
      reject: false,
      stdin: "ignore",
    },
  );
  const progress = setInterval(() => {
    // The directory does not exist at first.
    const written = directoryBytes(directory).catch(() => 0);
    void written.then((bytes) => {
      log.info(`snapshot: ${transferProgress(bytes, source.expectedBytes, performance.now() - started)}`);
    });
  }, progressMs);
  try {
    await succeed(pgDump, "pg_dump", signal);
  } finally {
    clearInterval(progress);
  }
  await writeFile(join(directory, rolesFile), roles, { mode: 0o600, flag: "wx" });
  const { bytes, sha256 } = await measureDirectory(directory, signal);
  return { bytes, sha256, plainBytes: 0, rolesBytes: roles.length };
}
