/**
 * Checks that a snapshot on disk matches its manifest and belongs to this deployment, before anything is done with it.
 */
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { join as joinOnHost } from "node:path/posix";
import { pipeline } from "node:stream/promises";
import type { StepContext } from "../../contract/context.ts";
import type { StepRequest } from "../../contract/steps.ts";
import { StepError } from "../../contract/errors.ts";
import { directoryBytes } from "./measure-directory.ts";
import { measureSnapshot } from "./measure-snapshot.ts";
import { extensionPattern, formatOf, manifestName, restoreByHand, rolesFile } from "../../contract/snapshot-format.ts";
import { listSnapshots, readManifest } from "./snapshots.ts";
import { type Manifest } from "../../contract/manifest.ts";
import { formatBytes } from "../../contract/units.ts";
import { withUnpacking } from "./unpack.ts";

/** A snapshot, and the deployment that it is for. */
export interface SnapshotChoice {
  /** The deployment that it is for. */
  name: string;
  environment: string;
  /** Directory on the Docker host, for messages. */
  backupLocation: string;
  /** Name of the file, without a directory. */
  file: string;
  /** Accept a snapshot of another deployment or environment. */
  foreign: boolean;
}

const fileName = new RegExp(`^togather_[a-z0-9-]+_\\d{8}_\\d{6}${extensionPattern}$`);

function refuse(
  file: string,
  what: string,
  hint = "nothing was touched; take another one: togather snapshots list",
): StepError {
  return new StepError(`the snapshot ${file} ${what}`, { hint });
}

/** @throws {StepError} for a string that is no snapshot's name, such as a path. */
export function checkName(file: string): void {
  if (!fileName.test(file))
    throw refuse(
      JSON.stringify(file),
      "has no name of a snapshot, expected togather_<name>_<YYYYMMDD_HHMMSS> and .sql.gz, .sql.zst (with .age when it is encrypted) or .dir",
    );
}

/** Bytes on disk. */
async function sizeOf(path: string): Promise<number> {
  const found = await stat(path);
  return found.isDirectory() ? directoryBytes(path) : found.size;
}

/**
 * The manifest of a complete snapshot of this deployment.
 * @throws {StepError} for one that is missing, corrupt, truncated or another deployment's.
 */
export async function checkedSnapshot(choice: SnapshotChoice, context: StepContext): Promise<Manifest> {
  const { file, backupLocation, name, environment } = choice;
  checkName(file);
  const path = join(context.paths.backups, file);
  if (
    await stat(path).then(
      () => false,
      () => true,
    )
  )
    throw refuse(file, `is not in ${backupLocation}`);
  const manifest = await readManifest(join(context.paths.backups, manifestName(file)));
  if (manifest === undefined)
    throw refuse(
      file,
      `has no manifest that can be read, expected ${joinOnHost(backupLocation, manifestName(file))}: nobody knows whether it is complete`,
      `by hand, into an empty database: ${restoreByHand(joinOnHost(backupLocation, file), formatOf(file))}`,
    );
  if (manifest.file !== file) throw refuse(file, `has the manifest of ${manifest.file} beside it`);
  if (!choice.foreign && (manifest.deployment !== name || manifest.environment !== environment)) {
    throw refuse(
      file,
      `is of ${manifest.deployment} (${manifest.environment}), expected ${name} (${environment})`,
      "nothing was touched; if you mean it: --foreign",
    );
  }
  await checkWhole(path, manifest, context);
  return manifest;
}

/**
 * Reads a snapshot to its end.
 * @param path its path, under any name.
 * @throws {StepError} when it differs from its manifest.
 */
export async function checkWhole(path: string, manifest: Manifest, context: StepContext): Promise<void> {
  const { file } = manifest;
  const size = await sizeOf(path);
  if (size !== manifest.bytes)
    throw refuse(
      file,
      `is ${size < manifest.bytes ? "truncated" : "too long"}: it has ${size} bytes, expected ${manifest.bytes}`,
    );
  const { sha256, plainBytes, broken } = await measureSnapshot(path, manifest, context);
  if (sha256 !== manifest.sha256)
    throw refuse(file, `is corrupt: its SHA-256 is ${sha256}, expected ${manifest.sha256}`);
  if (broken !== undefined) throw refuse(file, `can't be unpacked: ${broken}`);
  if (plainBytes !== undefined && plainBytes !== manifest.plain_bytes)
    throw refuse(file, `is ${formatBytes(plainBytes)} when unpacked, expected ${formatBytes(manifest.plain_bytes)}`);
}

/** The roles at the beginning of a snapshot, as SQL. */
export async function readRoles(
  path: string,
  manifest: Manifest,
  context: Pick<StepContext, "env" | "signal">,
): Promise<string> {
  const { format, roles_bytes: length } = manifest;
  if (format === "directory") return readFile(join(path, rolesFile), "utf8");
  return withUnpacking(manifest, context, async ({ input, output, failure }) => {
    const feeding = pipeline(createReadStream(path), input).catch(() => undefined);
    const chunks: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of output as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes >= length) break;
    }
    // The reader is gone: each program ends in its own way.
    input.destroy();
    await Promise.all([feeding, failure()]);
    return Buffer.concat(chunks).subarray(0, length).toString();
  });
}

/** The manifest of the snapshot that a deployment took. @throws {StepError} when it is another one's. */
export function asTaken(manifest: Manifest | undefined, { file, sha256 }: { file: string; sha256: string }): Manifest {
  if (manifest?.sha256 === sha256) return manifest;
  throw new StepError(
    `the snapshot ${file} is another one than was taken: its SHA-256 is ${manifest?.sha256 ?? "not known"}, expected ${sha256}`,
  );
}

/** Whether a snapshot that was taken has expired, and newer ones exist: then there is nothing left to prove. */
export async function hasExpired(
  { file, name, sha256 }: Pick<StepRequest<"verify">, "file" | "name" | "sha256">,
  { paths }: Pick<StepContext, "paths">,
): Promise<boolean> {
  if (sha256 === null) return false;
  const names = (await listSnapshots(paths.backups, name)).map((snapshot) => snapshot.file);
  return !names.includes(file) && names.some((other) => other > file);
}
