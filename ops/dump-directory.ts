/** A dump in pg_dump's directory format: a file for each table, made by several processes at once. */
import { open, readdir, stat, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import type { StepContext } from "./context.ts";
import { dumpRoles, type Dump, type DumpSource } from "./dump.ts";
import { measureDirectory } from "./measure-directory.ts";
import { succeed } from "./programs.ts";
import { rolesFile } from "./snapshot-format.ts";
import { transferProgress } from "./units.ts";

const progressMs = 2_000;

async function size(directory: string): Promise<number> {
  const names = await readdir(directory).catch(() => []);
  const sizes = await Promise.all(names.map((name) => stat(join(directory, name)).then((found) => found.size, () => 0)));
  return sizes.reduce((sum, one) => sum + one, 0);
}

/** Writes the dump into a new directory. pg_dump itself puts its files on disk before it ends; so does this with its own. */
export async function dumpDirectory(directory: string, source: DumpSource, context: StepContext): Promise<Dump> {
  const { log, signal } = context;
  const roles = await dumpRoles(source, context);
  const started = performance.now();
  const pgDump = execa("pg_dump", ["--format=directory", `--jobs=${availableParallelism()}`, "--compress=zstd:1", "--no-password", "--lock-wait-timeout=60s", `--snapshot=${source.snapshot}`, `--file=${directory}`], {
    env: { PATH: context.env["PATH"], LANG: "C.UTF-8", ...source.environment },
    extendEnv: false,
    cancelSignal: signal,
    reject: false,
    stdin: "ignore",
  });
  const progress = setInterval(() => {
    void size(directory).then((bytes) => { log.info(`snapshot: ${transferProgress(bytes, source.expectedBytes, performance.now() - started)}`); });
  }, progressMs);
  try {
    await succeed(pgDump, "pg_dump", signal);
  } finally {
    clearInterval(progress);
  }
  const file = join(directory, rolesFile);
  await writeFile(file, roles, { mode: 0o600, flag: "wx" });
  const handle = await open(file, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
  const { bytes, sha256 } = await measureDirectory(directory, signal);
  return { bytes, sha256, plainBytes: 0, rolesBytes: roles.length };
}
