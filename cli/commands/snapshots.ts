import { styleText } from "node:util";
import type { Command } from "commander";
import { formatBytes, seconds } from "../../ops/contract/units.ts";
import { confirm } from "../confirm.ts";
import { deployContext, readContext, withCommonOptions, type CommonOptions } from "../context.ts";
import { at, columns, invocation } from "../output.ts";
import { findSnapshot, listSnapshots, type ListedSnapshot } from "../snapshots/catalog.ts";
import { openCopies } from "../snapshots/copies.ts";
import { withHostLock } from "../snapshots/host-lock.ts";
import { databaseSecrets, runHostStep } from "../snapshots/host-step.ts";
import { restore } from "../snapshots/restore.ts";

interface SnapshotOptions extends CommonOptions {
  all?: boolean;
  copies?: boolean;
  foreign?: boolean;
  force?: boolean;
  yes?: boolean;
  holdJobs?: boolean;
}

function row({ id, bytes, manifest }: ListedSnapshot): string[] {
  if (manifest === undefined)
    return [id, "", "", "", formatBytes(bytes), "", styleText("yellow", "no manifest: only to be restored by hand")];
  const { time, before_version: version, migration_version: schema, rows, verified_at: verified } = manifest;
  const broken = bytes === manifest.bytes ? undefined : `${bytes} bytes, expected ${manifest.bytes}`;
  return [
    id,
    at(time),
    version,
    schema === null ? "none" : String(schema),
    formatBytes(bytes),
    String(rows),
    broken !== undefined
      ? styleText("red", broken)
      : verified === undefined
        ? styleText("yellow", "not verified")
        : styleText("green", `verified ${at(verified)}`),
  ];
}

function table(snapshots: readonly ListedSnapshot[]): string {
  return columns([["SNAPSHOT", "TAKEN", "BEFORE", "SCHEMA", "SIZE", "ROWS", ""], ...snapshots.map(row)]);
}

function listCommand(group: Command): void {
  withCommonOptions(group.command("list"))
    .summary("the snapshots on the Docker host, or their copies in the storage, the newest first")
    .option("--all", "those of other deployments in the same place, too")
    .option("--copies", "those in the storage of database.snapshot_copy instead")
    .action(async (_options, command: Command) => {
      const options = command.optsWithGlobals<SnapshotOptions>();
      const all = options.all === true;
      const copies = options.copies === true ? await deployContext(options) : undefined;
      const { settings, output } = copies ?? (await readContext(options));
      const snapshots =
        copies === undefined ? await listSnapshots(settings, all) : await (await openCopies(copies)).list(all);
      const none =
        copies === undefined
          ? `There is no snapshot of ${settings.name} in ${settings.backupLocation}.`
          : `There is no copy of a snapshot of ${settings.name} in its storage.`;
      output.result(snapshots, () => (snapshots.length === 0 ? none : table(snapshots)));
    });
}

function fetchCommand(group: Command): void {
  withCommonOptions(group.command("fetch"))
    .summary("bring a copy of a snapshot back from the storage to the Docker host")
    .description(
      "Reads a copy from the storage of database.snapshot_copy, compares it with its manifest, and puts it where snapshots are; nothing is restored. Retention counts it like any other.",
    )
    .argument("<id>", "of the copy, the beginning of it, or latest")
    .option("--foreign", "also one of another deployment")
    .action(async (id: string, _options, command: Command) => {
      const options = command.optsWithGlobals<SnapshotOptions>();
      const context = await deployContext(options);
      const { file, settings, output } = context;
      const copies = await openCopies(context);
      const copy = findSnapshot(
        await copies.list(options.foreign === true),
        id,
        `snapshots list --copies --stack ${file.stack}`,
      );
      const { fetched, durationMs } = await copies.fetch(copy);
      output.result({ id: copy.id, file: copy.file, fetched, durationMs }, () =>
        fetched
          ? `${copy.id} is in ${settings.backupLocation} (${formatBytes(copy.bytes)}, ${seconds(durationMs)}). The proof, and the way back to it:\n  → ${invocation(`snapshots verify ${copy.id} --stack ${file.stack}`)}\n  → ${invocation(`snapshots restore ${copy.id} --stack ${file.stack}`)}`
          : `${copy.id} is in ${settings.backupLocation} already.`,
      );
    });
}

function verifyCommand(group: Command): void {
  withCommonOptions(group.command("verify"))
    .summary("prove a snapshot by restoring it into a scratch database")
    .description(
      "Checks the file against its manifest, restores it into a scratch database on the same server, counts every row, and drops that database again. The live one is not touched.",
    )
    .argument("<id>", "of the snapshot, the beginning of it, or latest")
    .option("--foreign", "also one of another deployment or environment")
    .action(async (id: string, _options, command: Command) => {
      const options = command.optsWithGlobals<SnapshotOptions>();
      const { file, settings, output, pulumi } = await deployContext(options);
      const foreign = options.foreign === true;
      const snapshot = findSnapshot(await listSnapshots(settings, foreign), id, `snapshots list --stack ${file.stack}`);
      const { secrets } = await databaseSecrets(pulumi);
      const result = await runHostStep(
        "verify",
        { backupLocation: settings.backupLocation, file: snapshot.file, foreign, sha256: null, required: true },
        { settings, secrets, output },
      );
      output.result(
        { id: snapshot.id, ...result },
        () =>
          `${snapshot.id} restores: ${result.rows} rows in ${result.tables} tables, as its manifest says (${seconds(result.durationMs)})`,
      );
    });
}

function restoreCommand(group: Command, end: (code: number) => void): void {
  withCommonOptions(group.command("restore"))
    .summary("put a snapshot in the place of the live database")
    .description(
      "Restores a snapshot into a new database beside the live one, counts every row, and swaps the two in one transaction; servers reconnect by themselves. Says before what is lost, and asks. What was live is kept: see discard.",
    )
    .argument("<id>", "of the snapshot, the beginning of it, or latest")
    .option("-y, --yes", "don't ask")
    .option("--hold-jobs", "jobs that were queued then are not worked until somebody says so")
    .option("--foreign", "also one of another deployment or environment")
    .option("--force", "in spite of a lock, or of a schema that is older than what serves needs")
    .action(async (id: string, _options, command: Command) => {
      const options = command.optsWithGlobals<SnapshotOptions>();
      const context = await deployContext(options);
      const { file, settings, output } = context;
      const foreign = options.foreign === true;
      const snapshot = findSnapshot(await listSnapshots(settings, foreign), id, `snapshots list --stack ${file.stack}`);
      const { code, ...result } = await restore({
        context,
        snapshot,
        options: {
          yes: options.yes === true,
          foreign,
          force: options.force === true,
          holdJobs: options.holdJobs === true,
        },
      });
      output.result({ id: snapshot.id, ...result }, () =>
        [
          `${result.database} is ${snapshot.id} now: ${result.rows} rows (${seconds(result.durationMs)}; new connections waited ${result.swapMs ?? 0} ms)${result.health === undefined ? "" : `; what serves is ${result.health.status}`}.`,
          ...(result.replaced === null
            ? []
            : [
                `What it was before is kept as ${result.replaced}. When nobody needs it any more:`,
                `  → ${invocation(`snapshots discard ${result.replaced} --stack ${file.stack}`)}`,
              ]),
        ].join("\n"),
      );
      end(code);
    });
}

function discardCommand(group: Command): void {
  withCommonOptions(group.command("discard"))
    .summary("drop a database that a restore has replaced; without a name, list them")
    .argument("[database]", "as restore has named it")
    .option("-y, --yes", "don't ask")
    .action(async (database: string | undefined, _options, command: Command) => {
      const options = command.optsWithGlobals<SnapshotOptions>();
      const { file, settings, output, pulumi, before } = await deployContext(options);
      const { secrets } = await databaseSecrets(pulumi);
      const result = await withHostLock(
        { settings, stack: file.stack, before, output, force: false, why: "discard" },
        async (signal) => {
          const about = { settings, secrets, output, signal };
          if (database === undefined) return runHostStep("discard", { database: null }, about);
          await confirm(`Drop ${database} for good?`, { yes: options.yes === true, output });
          return runHostStep("discard", { database }, about);
        },
      );
      output.result(result, () => {
        if (result.dropped !== null) return `${result.dropped} is dropped.`;
        return result.kept.length === 0
          ? "No restore has left a database behind."
          : columns([["DATABASE", "SIZE"], ...result.kept.map((one) => [one.database, formatBytes(one.bytes)])]);
      });
    });
}

export function snapshotsCommand(program: Command, end: (code: number) => void): void {
  const group = withCommonOptions(program.command("snapshots"))
    .summary("list, verify and restore snapshots of the database")
    .description(
      "What is known about the snapshots on the Docker host, the proof that one restores, and the way back to it.",
    );
  listCommand(group);
  fetchCommand(group);
  verifyCommand(group);
  restoreCommand(group, end);
  discardCommand(group);
}
