import * as z from "zod";
import { waiverSchema } from "../migration-findings.ts";
import { releaseSchema } from "../slots.ts";
import { containerStep } from "../step.ts";
import { endpointCheckSchema, taskSchema } from "./release.ts";

/** Which migrations of which release run, and how. */
const migrationsOfRelease = {
  release: releaseSchema,
  /** Where the release's golang-migrate files are. */
  source: z.discriminatedUnion("kind", [
    z.strictObject({ kind: z.literal("commit"), repository: z.string(), commit: z.string(), path: z.string() }),
    z.strictObject({ kind: z.literal("tree"), repository: z.string(), digest: z.string(), path: z.string() }),
    z.strictObject({ kind: z.literal("image"), image: z.string(), path: z.string() }),
  ]),
  /** River's tables are migrated too. */
  river: z.boolean(),
  /** To which version of River's schema; the newest that there is unless given. */
  riverVersion: z.int().optional(),
  /** What the stack file lets the migrations do, by file and rule. A rehearsal is told of those alone that it has to know. */
  waivers: z.array(waiverSchema).optional(),
  /** How long a statement waits for a lock. What the live server does waits behind it: so it is short. */
  lockTimeoutMs: z.number().int(),
  statementTimeoutMs: z.number().int(),
};

const schemaVersion = (version: number | null | undefined): string =>
  typeof version === "number" ? String(version) : "none";

export const migrationSteps = {
  /**
   * Restores the snapshot that was taken into a scratch database, which proves it like `verify`, runs the release's pending
   * migrations there, and, on request, starts the image of the release that serves now against the result: whether it would still work. Nothing of
   * it touches the live database. Without pending migrations only the snapshot is proved, if that is wanted.
   */
  rehearse: containerStep({
    network: "private",
    mounts: ["backups"],
    request: {
      /** Name of the snapshot's file. */
      file: z.string(),
      sha256: z.string(),
      ...migrationsOfRelease,
      /** Proves the snapshot also where nothing is pending. */
      verify: z.boolean(),
      /** Fails when the role lacks the rights that a scratch database takes; otherwise a warning. */
      required: z.boolean(),
      /** How the release that serves is asked, and what it means when it does not answer well; null to leave it out. */
      serving: z
        .strictObject({
          healthPath: z.string(),
          port: z.number().int(),
          checks: z.array(endpointCheckSchema),
          /** Longest wait for it to answer well. */
          limitSeconds: z.number(),
          failure: z.enum(["error", "warn"]),
        })
        .nullable(),
      /** Run on the copy, after the migrations, in containers made like the release's own will be; with SERVER_ENVIRONMENT. */
      tasks: z
        .strictObject({
          list: z.array(taskSchema).min(1),
          image: z.string(),
          networks: z.array(z.string()),
          /** Docker's options by path. */
          tmpfs: z.record(z.string(), z.string()),
          /** Bytes of /dev/shm; 0 for Docker's own. */
          shmSize: z.number(),
          /** `name:address` */
          extraHosts: z.array(z.string()),
        })
        .optional(),
    },
    result: z.strictObject({
      /** Why nothing was restored; null when it was. */
      skipped: z.string().nullable(),
      verified: z.boolean(),
      rows: z.number(),
      tables: z.number(),
      files: z.array(
        z.strictObject({
          file: z.string(),
          durationMs: z.number(),
          /** Tables that were there before and that others had to wait for, with the strongest lock and for how long it was seen. */
          locks: z.array(z.strictObject({ table: z.string(), mode: z.string(), heldMs: z.number() })),
          /** Tables that were written anew as a whole. */
          rewritten: z.array(z.string()),
          /** Growth of the database, in bytes. */
          bytes: z.number(),
        }),
      ),
      /** The release that serves, as it answered on the migrated copy; null where it was not asked. */
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
   * golang-migrate `up` with the release's own files, then River's tables (rivermigrate).
   * The client sends the files as a tar on the step's stdin, with what the lint has found in them. A database that is ahead of the release is left alone.
   */
  migrate: containerStep({
    network: "private",
    request: {
      ...migrationsOfRelease,
      /** What findings of the lint (ops/lint) in files that are about to be applied mean. */
      lint: z.enum(["error", "warn", "off"]),
      /** How often a file is tried that could not have a lock in time, with a pause in between. */
      lockAttempts: z.number().int().min(1),
    },
    result: z.strictObject({
      from: z.number().nullable(),
      to: z.number().nullable(),
      /** Highest version among the release's own files: what the gate expects at least. */
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
