import { basename } from "node:path/posix";
import { styleText } from "node:util";
import type { Command } from "commander";
import { formatBytes, seconds } from "../../ops/contract/units.ts";
import { confirm } from "../confirm.ts";
import { stackContext, readContext, withCommonOptions, type CommonOptions } from "../context.ts";
import { refuseWithoutSlots } from "../development/refuse.ts";
import { Failure } from "../failure.ts";
import { at, columns, invocation } from "../output.ts";
import { findSnapshot, listSnapshots, snapshotId, type ListedSnapshot } from "../snapshots/catalog.ts";
import { openCopies } from "../snapshots/copies.ts";
import { withHostLock } from "../snapshots/host-lock.ts";
import { byHand, createSnapshot } from "../snapshots/create.ts";
import { databaseSecrets, runHostStep } from "../snapshots/host-step.ts";
import { restore } from "../snapshots/restore.ts";

interface SnapshotOptions extends CommonOptions {
  all?: boolean;
  copies?: boolean;
  foreign?: boolean;
  force?: boolean;
  yes?: boolean;
  holdJobs?: boolean;
  reason?: string;
}

function row({ id, bytes, manifest }: ListedSnapshot): string[] {
  if (manifest === undefined)
    return [id, "", "", "", formatBytes(bytes), "", styleText("yellow", "no manifest: only to be restored by hand")];
  const { time, before_version: version, migration_version: schema, rows, verified_at: verified, reason } = manifest;
  const broken = bytes === manifest.bytes ? undefined : `${bytes} bytes, expected ${manifest.bytes}`;
  return [
    id,
    at(time),
    reason === undefined ? version : "",
    schema === null ? "none" : String(schema),
    formatBytes(bytes),
    String(rows),
    (broken !== undefined
      ? styleText("red", broken)
      : verified === undefined
        ? styleText("yellow", "not verified")
        : styleText("green", `verified ${at(verified)}`)) +
      (reason === undefined ? "" : `; while ${version} served: ${reason}`),
  ];
}

function table(snapshots: readonly ListedSnapshot[]): string {
  return columns([["SNAPSHOT", "TAKEN", "BEFORE", "SCHEMA", "SIZE", "ROWS", ""], ...snapshots.map(row)]);
}

function listCommand(group: Command): void {
  withCommonOptions(group.command("list"))
    .summary("list the snapshots on the Docker host, or their copies, newest first")
    .option("--all", "include snapshots of other deployments in the same place")
    .option("--copies", "list the copies in the storage of database.snapshot_copy instead")
    .action(async (_options, command: Command) => {
      const options = command.optsWithGlobals<SnapshotOptions>();
      const all = options.all === true;
      const copies = options.copies === true ? await stackContext(options) : undefined;
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

function createCommand(group: Command): void {
  withCommonOptions(group.command("create"))
    .summary("take a snapshot now, between releases")
    .description(
      "Takes a snapshot of the database under the lock, as a release does before its migrations: proved where database.snapshot_verify says so, copied where database.snapshot_copy is set. Retention counts it like any other.",
    )
    .option("--reason <text>", "why, for the list of snapshots (200 characters at most)", byHand)
    .action(async (_options, command: Command) => {
      const options = command.optsWithGlobals<SnapshotOptions>();
      const reason = (options.reason ?? byHand).replace(/\s+/g, " ").trim();
      if (reason === "" || reason.length > 200)
        throw new Failure(
          "config",
          `--reason has ${reason.length} characters, expected 1 to 200`,
          invocation("snapshots create --help"),
        );
      const context = await stackContext(options);
      const { file, settings, output } = context;
      refuseWithoutSlots("snapshots create", file, settings);
      const created = await createSnapshot(context, reason);
      const { proof, copy, bytes, migrationVersion, durationMs } = created;
      const name = basename(created.file);
      const id = snapshotId(name, settings.name) ?? name;
      output.result({ id, reason, ...created }, () =>
        [
          `${id} is in ${settings.backupLocation}: ${formatBytes(bytes)}, schema version ${migrationVersion ?? "none"} (${seconds(durationMs)})`,
          proof === undefined
            ? `Not proved, as database.snapshot_verify says. The proof:\n  → ${invocation(`snapshots verify ${id} --stack ${file.stack}`)}`
            : proof.verified
              ? `It restores: ${proof.rows} rows in ${proof.tables} tables (${seconds(proof.durationMs)}).`
              : `NOT PROVED: ${proof.reason ?? ""}`,
          ...(copy === undefined
            ? []
            : [copy.copied === null ? `NOT COPIED: ${copy.reason ?? ""}` : `It is copied to ${copy.copied}.`]),
        ].join("\n"),
      );
    });
}

function fetchCommand(group: Command): void {
  withCommonOptions(group.command("fetch"))
    .summary("bring a copy of a snapshot back from the storage to the Docker host")
    .description(
      "Brings a copy back from the storage of database.snapshot_copy, compared with its manifest. Restores nothing. Retention counts it like any other snapshot.",
    )
    .argument("<id>", "id of the copy, the beginning of it, or latest")
    .option("--foreign", "allow a copy of another deployment")
    .action(async (id: string, _options, command: Command) => {
      const options = command.optsWithGlobals<SnapshotOptions>();
      const context = await stackContext(options);
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
      "Compares the file with its manifest, restores it into a scratch database on the same server, counts every row, and drops that database. The live database is not touched.",
    )
    .argument("<id>", "id of the snapshot, the beginning of it, or latest")
    .option("--foreign", "allow a snapshot of another deployment or environment")
    .action(async (id: string, _options, command: Command) => {
      const options = command.optsWithGlobals<SnapshotOptions>();
      const { file, settings, output, pulumi } = await stackContext(options);
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
    .summary("replace the live database by a snapshot")
    .description(
      "Says what would be lost, and asks. Then restores the snapshot into a new database, counts every row, and swaps it with the live one in one transaction. Servers reconnect by themselves. The replaced database is kept: see discard.",
    )
    .argument("<id>", "id of the snapshot, the beginning of it, or latest")
    .option("-y, --yes", "don't ask")
    .option("--hold-jobs", "hold restored jobs until you release them")
    .option("--foreign", "allow a snapshot of another deployment or environment")
    .option("--force", "ignore a lock, and a schema that is too old for what serves")
    .action(async (id: string, _options, command: Command) => {
      const options = command.optsWithGlobals<SnapshotOptions>();
      const context = await stackContext(options);
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
                `The replaced database is kept as ${result.replaced}. When nobody needs it any more:`,
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
    .argument("[database]", "name of the replaced database, as restore has shown it")
    .option("-y, --yes", "don't ask")
    .action(async (database: string | undefined, _options, command: Command) => {
      const options = command.optsWithGlobals<SnapshotOptions>();
      const { file, settings, output, pulumi, before } = await stackContext(options);
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
        if (database !== undefined) return `${database} is not there any more: it was dropped before.`;
        return result.kept.length === 0
          ? "No restore has left a database behind."
          : columns([["DATABASE", "SIZE"], ...result.kept.map((one) => [one.database, formatBytes(one.bytes)])]);
      });
    });
}

export function snapshotsCommand(program: Command, end: (code: number) => void): void {
  const group = withCommonOptions(program.command("snapshots"))
    .summary("list, take, verify and restore snapshots of the database")
    .description("Lists, takes, proves and restores snapshots of the database.");
  listCommand(group);
  createCommand(group);
  fetchCommand(group);
  verifyCommand(group);
  restoreCommand(group, end);
  discardCommand(group);
}
