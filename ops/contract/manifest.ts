/** The manifest of a snapshot: a JSON file beside it. */
import * as z from "zod";
import { snapshotFormats } from "./snapshot-format.ts";

/** Attributes of a database beside its contents. */
export const databaseAttributesSchema = z.object({
  owner: z.string(),
  encoding: z.string(),
  /** Locale provider, as in pg_database: `b`, `c` or `i`. Null: before PostgreSQL 15. */
  provider: z.string().nullable(),
  collate: z.string().nullable(),
  ctype: z.string().nullable(),
  locale: z.string().nullable(),
  /** ICU rules, where there are any. Missing in files of older versions of this project. */
  icuRules: z.string().nullable().optional(),
  /** Missing in files of older versions of this project. */
  tablespace: z.string().optional(),
  connectionLimit: z.number(),
  comment: z.string().nullable(),
  /** Null: PostgreSQL's default, with which everybody may connect. A null grantee is PUBLIC. */
  rights: z
    .array(z.object({ grantee: z.string().nullable(), privilege: z.string(), grantable: z.boolean() }))
    .nullable(),
  /** `name=value`, for all roles, or in this database for one role. */
  settings: z.array(z.object({ role: z.string().nullable(), entry: z.string() })),
});
export type DatabaseAttributes = z.infer<typeof databaseAttributesSchema>;

/** The manifest of a snapshot: a JSON file beside it. */
export const manifestSchema = z.looseObject({
  file: z.string(),
  format: z.enum(snapshotFormats).default("sql.gz"),
  /** Public keys that it is encrypted for. Empty: not encrypted. */
  recipients: z.array(z.string()).default([]),
  time: z.string(),
  deployment: z.string(),
  environment: z.string(),
  /** The release before whose migrations it was taken. */
  before_version: z.string(),
  before_commit: z.string(),
  /** A person has taken it, for this, while the release of `before_version` served. */
  reason: z.string().optional(),
  database: z.string(),
  /** A later restore recognizes by it that this still is the database that the snapshot was taken of. */
  database_oid: z.number(),
  database_version: z.string(),
  database_bytes: z.number(),
  tool_version: z.string(),
  /** golang-migrate's version in the snapshot. Null: a database without migrations. */
  migration_version: z.number().nullable(),
  migration_dirty: z.boolean(),
  /**
   * Rows by table (`schema.table`), counted in the same database snapshot as the dump. Tables of extensions are left
   * out.
   */
  tables: z.record(z.string(), z.number()),
  rows: z.number(),
  /** Version by extension. */
  extensions: z.record(z.string(), z.string()),
  /** Owner by extension, where the owner is no superuser. Missing in files of older versions of this project. */
  extension_owners: z.record(z.string(), z.string()).optional(),
  /** The first transaction that is not in it: rows of later ones were written since. */
  next_transaction: z.string(),
  /** River's jobs in it that are still to run. Null: no table of jobs. */
  queued_jobs: z.number().nullable().optional(),
  /**
   * Owner, rights and settings of the database itself, which no dump has. Missing in files of older versions of this
   * project.
   */
  attributes: databaseAttributesSchema.optional(),
  /**
   * Further facts that show which rows are not in it (see row-visibility.ts). Missing in files of older versions of
   * this project.
   */
  visibility: z.object({ snapshot: z.string(), seen: z.array(z.string()).optional() }).optional(),
  /** Bytes of the compressed file; in the format `directory`, of all its files. */
  bytes: z.number(),
  /** Checksum of the file; in the format `directory`, that of the output of `sha256sum *`. */
  sha256: z.string(),
  /**
   * Bytes before compression: all of it (0 in the format `directory`, where it is unknown), and the roles at its
   * beginning.
   */
  plain_bytes: z.number(),
  roles_bytes: z.number(),
  /**
   * Taken from another server's database, without owners and rights. A restore gives everything to the owner of the
   * database that it replaces.
   */
  without_owners: z
    .strictObject({
      /**
       * Tables and sequences that belong to an extension, named as in SQL: only the extension's owner may write to
       * them.
       */
      extension_relations: z.array(z.string()),
    })
    .optional(),
  duration_ms: z.number(),
  /** Time at which it was restored into a scratch database and found complete. */
  verified_at: z.string().optional(),
  verify_duration_ms: z.number().optional(),
  /** A restore is about to begin: the snapshot does not expire before this time. */
  keep_until: z.string().optional(),
});
export type Manifest = z.infer<typeof manifestSchema>;
