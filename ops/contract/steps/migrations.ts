import * as z from "zod";
import { waiverSchema } from "../migration-findings.ts";
import { releaseSchema } from "../slots.ts";
import { containerStep } from "../step.ts";
import { endpointCheckSchema, taskSchema } from "./release.ts";

/** A release's migrations and their limits. */
const migrationsOfRelease = {
  release: releaseSchema,
  /** The source of the release's golang-migrate files. */
  source: z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("commit"), repository: z.string(), commit: z.string(), path: z.string() }),
    z.strictObject({ kind: z.literal("tree"), repository: z.string(), digest: z.string(), path: z.string() }),
    z.strictObject({ kind: z.literal("image"), image: z.string(), path: z.string() }),
  ]),
  /** River's tables are migrated too. */
  river: z.boolean(),
  /** The version of River's schema. Default: the newest. */
  riverVersion: z.int().optional(),
  /** Exceptions from the lint in the stack file, by file and rule. A rehearsal gets only those that it needs. */
  waivers: z.array(waiverSchema).optional(),
  /** The longest wait of a statement for a lock, in ms. The live server's statements wait behind it: so it is short. */
  lockTimeoutMs: z.number().int(),
  statementTimeoutMs: z.number().int(),
};

const schemaVersion = (version: number | null | undefined): string =>
  typeof version === "number" ? String(version) : "none";

export const migrationSteps = {
  /**
   * Restores the snapshot that was taken into a scratch database, which proves it like `verify`, and runs the release's
   * pending migrations there. On request it starts the image of the release that serves against the result: whether it
   * would still work. Nothing touches the live database. Without pending migrations only the snapshot is proved, if
   * that is requested.
   */
  rehearse: containerStep({
    network: "private",
    mounts: ["backups"],
    request: {
      /** Name of the snapshot's file. */
      file: z.string(),
      sha256: z.string(),
      ...migrationsOfRelease,
      /** Proves the snapshot even where nothing is pending. */
      verify: z.boolean(),
      /** Fails when the role lacks the rights for a scratch database; otherwise a warning. */
      required: z.boolean(),
      /** The check of the release that serves, and the consequence of a bad answer. Null: no check. */
      serving: z
        .strictObject({
          healthPath: z.string(),
          port: z.number().int(),
          checks: z.array(endpointCheckSchema),
          /** The longest wait for a good answer. */
          limitSeconds: z.number(),
          failure: z.enum(["error", "warn"]),
        })
        .nullable(),
      /** Run on the copy, after the migrations, in containers like the release's own; with SERVER_ENVIRONMENT. */
      tasks: z
        .strictObject({
          list: z.array(taskSchema).min(1),
          image: z.string(),
          networks: z.array(z.string()),
          /** Docker's options by path. */
          tmpfs: z.record(z.string(), z.string()),
          /** Bytes of /dev/shm; 0: Docker's default. */
          shmSize: z.number(),
          /** `name:address` */
          extraHosts: z.array(z.string()),
        })
        .optional(),
    },
    result: z.strictObject({
      /** The reason why nothing was restored. Null: it was. */
      skipped: z.string().nullable(),
      verified: z.boolean(),
      rows: z.number(),
      tables: z.number(),
      files: z.array(
        z.strictObject({
          file: z.string(),
          durationMs: z.number(),
          /**
           * Existing tables that others had to wait for, with the strongest lock and the time for which it was seen.
           */
          locks: z.array(z.strictObject({ table: z.string(), mode: z.string(), heldMs: z.number() })),
          /** Tables that were rewritten as a whole. */
          rewritten: z.array(z.string()),
          /** Growth of the database, in bytes. */
          bytes: z.number(),
        }),
      ),
      /** The answer of the release that serves on the migrated copy. Null: it was not asked. */
      serving: z.string().nullable(),
      durationMs: z.number(),
    }),
    ending: "migration",
    resource: { components: ["Rehearsal"], part: "run", outputs: { files: "files", serving: "serving" } },
    says: ({ skipped, rows, files = [], serving }) => {
      if (typeof skipped === "string") return skipped;
      if (rows === undefined) return "";
      const restores = `${rows} rows restored`;
      if (files.length === 0) return `nothing to rehearse; ${restores}`;
      return `${files.length} run on a copy; ${restores}${typeof serving === "string" ? `; ${serving}` : ""}`;
    },
  }),

  /**
   * golang-migrate `up` with the release's own files, then River's tables (rivermigrate). The client sends the files
   * and the lint's findings as a tar on the step's stdin. A database that is ahead of the release is left alone.
   */
  migrate: containerStep({
    network: "private",
    request: {
      ...migrationsOfRelease,
      /** The consequence of the lint's findings (ops/lint) in files that are about to be applied. */
      lint: z.enum(["error", "warn", "off"]),
      /** Attempts for a file that does not get a lock in time, with a pause in between. */
      lockAttempts: z.number().int().min(1),
    },
    result: z.strictObject({
      from: z.number().nullable(),
      to: z.number().nullable(),
      /** Highest version among the release's own files: the gate's minimum. */
      expected: z.number().nullable(),
      applied: z.array(z.string()),
      durationMs: z.number(),
    }),
    ending: "migration",
    resource: { components: ["Migration"], part: "up", outputs: { version: "to" } },
    says: ({ applied, from, to }) =>
      applied === undefined
        ? ""
        : applied.length === 0
          ? `none to run, schema version ${schemaVersion(to)}`
          : `${applied.length} run, schema version ${schemaVersion(from)} to ${schemaVersion(to)}`,
  }),
};
