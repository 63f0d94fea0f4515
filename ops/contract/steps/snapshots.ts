import * as z from "zod";
import { releaseSchema } from "../slots.ts";
import { snapshotFormats } from "../snapshot-format.ts";
import { containerStep } from "../step.ts";
import { formatBytes } from "../units.ts";

/** A snapshot in backupLocation. */
const snapshotChoice = {
  /** Name of the file in it. */
  file: z.string(),
  /** Accept a snapshot of another deployment or environment. */
  foreign: z.boolean(),
};

/** An S3-compatible storage to which snapshots are copied. */
const storage = {
  /** Its URL. */
  endpoint: z.string(),
  region: z.string(),
  bucket: z.string(),
  /** Prefix in the bucket: empty, or ending with /. */
  prefix: z.string(),
};

export const snapshotSteps = {
  /** pg_dump of the database (DATABASE_URL, the owner role) into backupLocation; then retention. */
  snapshot: containerStep({
    network: "private",
    mounts: ["backups"],
    request: {
      /** Number of snapshots of this deployment that are kept; the oldest are removed first. */
      retention: z.number().int().min(1),
      /** Minimum number of verified snapshots that are kept, whatever their age. */
      keepVerified: z.number().int().min(0),
      format: z.enum(snapshotFormats),
      /** age's public keys: the owner of any of the secret keys can read it. Empty: not encrypted. */
      recipients: z.array(z.string()),
      /** The release before whose migrations it is taken; with `reason`, the one that serves. */
      release: releaseSchema,
      /** Why a person takes it between releases; absent for a release's own. */
      reason: z.string().min(1).max(200).optional(),
      /** The database belongs to a server whose roles do not exist here: owners, rights and roles are left out. */
      withoutOwners: z.literal(true).optional(),
      /**
       * The result of the step's last run, added by its client: a changed setting is no reason to take a release's
       * snapshot again.
       */
      previous: z.object({ file: z.string(), sha256: z.string() }).optional(),
    },
    result: z.strictObject({
      /** Path on the Docker host: a file, or a directory. */
      file: z.string(),
      bytes: z.number(),
      sha256: z.string(),
      /** golang-migrate's version when the snapshot was taken. Null: a database without migrations. */
      migrationVersion: z.number().nullable(),
      durationMs: z.number(),
    }),
    ending: "snapshot",
    resource: { components: ["Snapshot"], part: "dump", outputs: { file: "file" } },
    says: ({ file, bytes }) => (file === undefined ? "" : `${file}, ${formatBytes(Number(bytes))}`),
  }),

  /**
   * Restores a snapshot into a scratch database on the same server and compares it with its manifest. The role of
   * DATABASE_ADMIN_URL creates that database, or that of DATABASE_URL where there is none.
   */
  verify: containerStep({
    network: "private",
    mounts: ["backups"],
    request: {
      ...snapshotChoice,
      /** Checksum of the snapshot that was taken. Null: any snapshot of this name. */
      sha256: z.string().nullable(),
      /** Fails when the role lacks the rights for this; otherwise a warning. A bad snapshot always fails. */
      required: z.boolean(),
    },
    result: z.strictObject({
      verified: z.boolean(),
      /** The reason why it could not be verified. */
      reason: z.string().nullable(),
      rows: z.number(),
      tables: z.number(),
      durationMs: z.number(),
    }),
    ending: "snapshot",
    resource: { components: ["Verification"], part: "restore", outputs: { verified: "verified" } },
    says: ({ verified, rows, tables, reason }) =>
      verified === true
        ? `restores: ${String(rows)} rows in ${String(tables)} tables`
        : typeof reason === "string"
          ? `NOT VERIFIED: ${reason}`
          : "",
  }),

  /**
   * Copies a snapshot and its manifest to an S3-compatible storage and compares them there. The credentials are SNAPSHOT_COPY_KEY_ID
   * and SNAPSHOT_COPY_SECRET. Nothing is ever removed there.
   */
  copy: containerStep({
    network: "private",
    mounts: ["backups"],
    request: {
      /** Name of the snapshot's file. */
      file: z.string(),
      sha256: z.string(),
      ...storage,
      failure: z.enum(["error", "warn"]),
    },
    result: z.strictObject({
      /** Its place in the storage. Null: it could not be copied, which was configured to be a warning. */
      copied: z.string().nullable(),
      reason: z.string().nullable(),
      durationMs: z.number(),
    }),
    resource: { components: ["SnapshotCopy"], part: "upload", outputs: { copied: "copied" } },
    says: ({ copied, reason }) =>
      typeof copied === "string" ? copied : typeof reason === "string" ? `NOT COPIED: ${reason}` : "",
  }),

  /**
   * Brings a copy of a snapshot back from the storage, completely or not at all. Without a file it only lists the
   * copies. Credentials as for `copy`.
   */
  fetch: containerStep({
    network: "private",
    mounts: ["backups"],
    request: { ...storage, file: z.string().nullable() },
    result: z.strictObject({
      /** Manifests of the copies; with a file, its own. */
      copies: z.array(z.unknown()),
      /** False: it was on the host already. */
      fetched: z.boolean(),
      durationMs: z.number(),
    }),
  }),

  /**
   * Replaces the live database by a snapshot and keeps the old one under another name; or only reports what that would
   * lose.
   */
  restore: containerStep({
    network: "private",
    mounts: ["backups"],
    ending: "restore",
    request: {
      ...snapshotChoice,
      mode: z.enum(["check", "restore"]),
      /** With `check`: the snapshot is about to be restored, and must not expire before. */
      keep: z.boolean().optional(),
      /** With `restore`: River's jobs that were queued in the snapshot are put on hold. */
      holdJobs: z.boolean().optional(),
    },
    result: z.strictObject({
      file: z.string(),
      time: z.string(),
      /** The release before whose migrations it was taken. */
      beforeVersion: z.string(),
      /** Why a person took it; `beforeVersion` served then. */
      reason: z.string().optional(),
      database: z.string(),
      rows: z.number(),
      /**
       * Tables in which the database differs from the snapshot. `written`: rows inserted or changed since; null:
       * unknown.
       */
      lost: z.array(
        z.strictObject({
          table: z.string(),
          snapshot: z.number().nullable(),
          now: z.number().nullable(),
          written: z.number().nullable(),
        }),
      ),
      /**
       * River's jobs: queued in the snapshot (null: not counted), ended in the database since, and put on hold. Null:
       * no River.
       */
      jobs: z.strictObject({ queued: z.number().nullable(), doneSince: z.number(), held: z.number() }).nullable(),
      /** Whether `lost` includes every row that was written since; see data-loss.ts. */
      counted: z.enum(["exact", "without-open", "rows-only"]),
      /** golang-migrate's versions. */
      schema: z.strictObject({ now: z.number().nullable(), snapshot: z.number().nullable() }),
      /** The name that the replaced database now has. */
      replaced: z.string().nullable(),
      /** The longest wait of new connections. */
      swapMs: z.number().nullable(),
      durationMs: z.number(),
    }),
  }),

  /** Drops a database that a restore has replaced. Null: lists them. */
  discard: containerStep({
    network: "private",
    request: { database: z.string().nullable() },
    result: z.strictObject({
      kept: z.array(z.strictObject({ database: z.string(), bytes: z.number() })),
      /** Null also where the named one was dropped before. */
      dropped: z.string().nullable(),
    }),
  }),
};
