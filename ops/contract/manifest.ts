/** What is written down about a snapshot, in a JSON file beside it. */
import * as z from "zod";
import { snapshotFormats } from "./snapshot-format.ts";

/** What a database has beside its contents. */
export const databaseAttributesSchema = z.object({
  owner: z.string(),
  encoding: z.string(),
  /** Of the locale, as pg_database has it: `b`, `c` or `i`; null before PostgreSQL 15. */
  provider: z.string().nullable(),
  collate: z.string().nullable(),
  ctype: z.string().nullable(),
  locale: z.string().nullable(),
  /** Of ICU, where there are any; older versions of this project have not written it. */
  icuRules: z.string().nullable().optional(),
  /** Older versions of this project have not written it. */
  tablespace: z.string().optional(),
  connectionLimit: z.number(),
  comment: z.string().nullable(),
  /** null: PostgreSQL's own, by which everybody may connect. A grantee that is null is PUBLIC. */
  rights: z
    .array(z.object({ grantee: z.string().nullable(), privilege: z.string(), grantable: z.boolean() }))
    .nullable(),
  /** `name=value`, for all or in this database for one role. */
  settings: z.array(z.object({ role: z.string().nullable(), entry: z.string() })),
});
export type DatabaseAttributes = z.infer<typeof databaseAttributesSchema>;

/** What is known about a snapshot, in a JSON file beside it. */
export const manifestSchema = z.looseObject({
  file: z.string(),
  format: z.enum(snapshotFormats).default("sql.gz"),
  /** Whom it is encrypted for, by their public keys; empty: it is not. */
  recipients: z.array(z.string()).default([]),
  time: z.string(),
  deployment: z.string(),
  environment: z.string(),
  /** The release before whose migrations it was taken. */
  before_version: z.string(),
  before_commit: z.string(),
  database: z.string(),
  /** By which a later restore knows that this still is the database that the snapshot was taken of. */
  database_oid: z.number(),
  database_version: z.string(),
  database_bytes: z.number(),
  tool_version: z.string(),
  /** golang-migrate's version in the snapshot; null in a database without migrations. */
  migration_version: z.number().nullable(),
  migration_dirty: z.boolean(),
  /** Rows by table (`schema.table`), counted in the same database snapshot as the dump. Tables of extensions are left out. */
  tables: z.record(z.string(), z.number()),
  rows: z.number(),
  /** Version by extension. */
  extensions: z.record(z.string(), z.string()),
  /** Owner by extension, where that is no superuser; older versions of this project have not written it. */
  extension_owners: z.record(z.string(), z.string()).optional(),
  /** The first transaction that is not in it: rows of later ones were written since. */
  next_transaction: z.string(),
  /** River's jobs in it that are still to be worked; null where there is no table of them. */
  queued_jobs: z.number().nullable().optional(),
  /** Owner, rights and settings of the database itself, which are in no dump; older versions of this project have not written it. */
  attributes: databaseAttributesSchema.optional(),
  /** What else tells which rows are not in it (see row-visibility.ts); older versions of this project have not written it. */
  visibility: z.object({ snapshot: z.string(), seen: z.array(z.string()).optional() }).optional(),
  /** Of the file, compressed; in the format `directory` of all its files. */
  bytes: z.number(),
  /** Of the file; in the format `directory` that of `sha256sum *` in it. */
  sha256: z.string(),
  /** Before compression: all of it (0 in the format `directory`, where nobody knows), and the roles with which it begins. */
  plain_bytes: z.number(),
  roles_bytes: z.number(),
  /** Taken of another server's database, without owners and rights: what is restored belongs to the owner of the database that it takes the place of. */
  without_owners: z
    .strictObject({
      /** Tables and sequences that belong to an extension, as SQL writes their names: only who made it may write to them. */
      extension_relations: z.array(z.string()),
    })
    .optional(),
  duration_ms: z.number(),
  /** When it was restored into a scratch database and found complete. */
  verified_at: z.string().optional(),
  verify_duration_ms: z.number().optional(),
  /** It is about to be restored, and does not expire before then. */
  keep_until: z.string().optional(),
});
export type Manifest = z.infer<typeof manifestSchema>;
