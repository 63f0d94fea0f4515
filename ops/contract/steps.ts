/**
 * The contract between the stack's components and `ops`, the program that touches the host and the database.
 * A component puts a request into the environment variable TOGATHER_REQUEST of a `command.local.Command`; the
 * command prints one JSON result on stdout and progress on stderr. Secrets are never part of a request: they
 * travel as environment variables of their own (see `SECRET_VARIABLES`).
 *
 * Every step is idempotent: run twice with the same request, it converges on the same state.
 */
import * as z from "zod";
import { waiverSchema } from "./migration-findings.ts";
import { snapshotFormats } from "./snapshot-format.ts";

/** Raised when a request's shape changes in a way that an older `ops` image would misread. */
export const CONTRACT_VERSION = 1;

/**
 * Environment variables that carry secrets into a step, by name; their values appear in no log. SERVER_SECRETS is a JSON list
 * of all that a server was given: the gate shows what a server says, and a server may say anything.
 */
export const SECRET_VARIABLES = [
  "DATABASE_URL",
  "MIGRATION_DATABASE_URL",
  "DATABASE_ADMIN_URL",
  "JWT_SECRET",
  "ADMIN_API_KEY",
  "SERVER_SECRETS",
  "PGPASSWORD",
  "SNAPSHOT_IDENTITY",
  "SNAPSHOT_COPY_KEY_ID",
  "SNAPSHOT_COPY_SECRET",
  "TLS_CERTIFICATE",
  "TLS_KEY",
] as const;

/**
 * Carries all that a server is given into a step, as a JSON object, for a rehearsal that runs tasks before the server's own container is
 * there. For the step's client alone.
 */
export const SERVER_ENVIRONMENT = "SERVER_ENVIRONMENT";

export const slotNames = ["blue", "green"] as const;
export const slotNameSchema = z.enum(slotNames);
/** One of the two places a release can run in. */
export type SlotName = z.infer<typeof slotNameSchema>;

export const releaseSchema = z.strictObject({
  /** What people call it: a git tag, or the short commit where there is none. The server reports it. */
  version: z.string().min(1),
  /** What it is built from: a full git commit, `tree-<hash>` for a source tree without git, or an image digest. */
  commit: z.string().min(1),
});
/** What a slot runs. */
export type Release = z.infer<typeof releaseSchema>;

/** Fields that every request has. */
const common = {
  contract: z.literal(CONTRACT_VERSION),
  /** The deployment's name: the prefix of its containers (`togather-<name>-blue`), volumes and network. */
  name: z.string(),
  environment: z.enum(["production", "staging", "development"]),
};

/** Directories on the Docker host, bind-mounted into the step. */
const hostDirectories = {
  /** Holds deployment-state.json, current.json and history.jsonl of this deployment. Mounted at /state. */
  stateLocation: z.string(),
  /** Holds `<deployment id>.log`, JSON lines. Mounted at /logs. */
  logLocation: z.string(),
};

/** Fields of the steps that run in the `ops` container, and need no more than its directories. */
const bookkeeping = { ...common, ...hostDirectories };

/** Fields of the steps that run in the `ops` container on the deployment's private network. */
const step = { ...bookkeeping, network: z.string() };

/**
 * `build`: makes an image from a git commit, a source tree or a directory of this project.
 * Skips the build when the engine already has an image with this tag and the same `org.togather.source` label.
 */
export const buildRequestSchema = z.strictObject({
  ...common,
  source: z.discriminatedUnion("kind", [
    z.strictObject({
      /** The files of one commit: `git archive COMMIT PATHS | docker build -`. */
      kind: z.literal("commit"),
      /** Directory of the git repository, relative to the Pulumi project. */
      repository: z.string(),
      commit: z.string(),
      /** Paths of the commit that go into the build context; ["."] for all. */
      paths: z.array(z.string()).min(1),
    }),
    z.strictObject({
      /** A source tree without git. `digest` is its content hash, so that a change builds again. */
      kind: z.literal("tree"),
      repository: z.string(),
      paths: z.array(z.string()).min(1),
      digest: z.string(),
    }),
    z.strictObject({
      /** One of this project's own images, from images/<name>. */
      kind: z.literal("bundled"),
      image: z.enum(["ops", "postgres", "nginx", "dev"]),
      digest: z.string(),
    }),
  ]),
  /** Path of the Dockerfile in the context. */
  dockerfile: z.string(),
  tag: z.string(),
  /** Build arguments of the source's own. `{version}`, `{commit}` and `{created}` stand for the release's. */
  arguments: z.record(z.string(), z.string()).optional(),
  /** The release that the image holds: build arguments VERSION, COMMIT, CREATED and the OCI labels. */
  release: releaseSchema.optional(),
});
export const buildResultSchema = z.strictObject({
  tag: z.string(),
  /** `sha256:…` of the image's configuration: what containers are created from. */
  imageId: z.string(),
  built: z.boolean(),
  durationMs: z.number(),
});

/**
 * `begin`: opens a deployment: an id `YYYYMMDD_HHMMSS_<short commit>`, its log, an "in_progress" line in the history.
 * A deployment that was in progress before and never ended is recorded as failed ("interrupted"). Later steps of the
 * same run find the id in current.json, so that ids need not pass through Pulumi inputs (they would re-run everything).
 */
export const beginRequestSchema = z.strictObject({
  ...bookkeeping,
  activeSlot: slotNameSchema,
  slots: z.partialRecord(slotNameSchema, releaseSchema),
  /** The operator's own, program and arguments, for when it fails or is sent back. It reaches the other steps by current.json. */
  failureCommand: z.array(z.string()).min(1).optional(),
});
export const beginResultSchema = z.strictObject({ deploymentId: z.string(), startedAt: z.string() });

/**
 * `database`: looks at an external database before anything touches it: whether it answers, can be written to and dumped,
 * has the extensions, and who the roles are. DATABASE_URL has the server's role, MIGRATION_DATABASE_URL the owner's.
 */
export const databaseRequestSchema = z.strictObject({
  ...step,
  /** Checked again for each release. */
  release: releaseSchema,
  extensions: z.array(z.string()),
  /** What it means that the server's role is a SUPERUSER. */
  superuser: z.enum(["error", "warn", "off"]),
});
export const databaseResultSchema = z.strictObject({
  serverVersion: z.string(),
  role: z.string(),
  migrationRole: z.string(),
  durationMs: z.number(),
});

/** `snapshot`: pg_dump of the database (DATABASE_URL, the owner role) into backupLocation; then retention. */
export const snapshotRequestSchema = z.strictObject({
  ...step,
  /** Directory on the Docker host. Mounted at /backups. */
  backupLocation: z.string(),
  /** How many snapshots of this deployment stay. */
  retention: z.number().int().min(1),
  /** The newest so many verified ones stay, however old they are. */
  keepVerified: z.number().int().min(0),
  format: z.enum(snapshotFormats),
  /** age's public keys: whoever has one of the secret ones can read it. Empty: it is not encrypted. */
  recipients: z.array(z.string()),
  release: releaseSchema,
  /** The database is of a server whose roles mean nothing here: owners and rights are left out, and no roles are in it. */
  withoutOwners: z.literal(true).optional(),
  /** What the step gave when it ran last, added by its client: a changed setting is no reason to take a release's snapshot again. */
  previous: z.object({ file: z.string(), sha256: z.string() }).optional(),
});
export const snapshotResultSchema = z.strictObject({
  /** Path on the Docker host: a file, or a directory. */
  file: z.string(),
  bytes: z.number(),
  sha256: z.string(),
  /** golang-migrate's version when the snapshot was taken; null in a database without migrations. */
  migrationVersion: z.number().nullable(),
  durationMs: z.number(),
});

/** Which snapshot of backupLocation a step works with. */
const snapshotChoice = {
  /** Directory on the Docker host. Mounted at /backups. */
  backupLocation: z.string(),
  /** Name of the file in it. */
  file: z.string(),
  /** Another deployment's or environment's will do. */
  foreign: z.boolean(),
};

/**
 * `verify`: restores a snapshot into a scratch database on the same server and compares it with its manifest. Who makes
 * that database: the role of DATABASE_ADMIN_URL, or of DATABASE_URL where there is none.
 */
export const verifyRequestSchema = z.strictObject({
  ...step,
  ...snapshotChoice,
  /** Of the snapshot that was taken; null for whichever is there. */
  sha256: z.string().nullable(),
  /** Fails when the role lacks the rights that this takes; otherwise a warning. A bad snapshot always fails. */
  required: z.boolean(),
});
export const verifyResultSchema = z.strictObject({
  verified: z.boolean(),
  /** Why it could not be verified. */
  reason: z.string().nullable(),
  rows: z.number(),
  tables: z.number(),
  durationMs: z.number(),
});

export const endpointCheckSchema = z.strictObject({ path: z.string(), status: z.number().int() });
/** A path of the server, and the status that it is to answer with. */
export type EndpointCheck = z.infer<typeof endpointCheckSchema>;

const taskSchema = z.strictObject({
  name: z.string(),
  /** Program and arguments, as a container takes them: no shell. */
  command: z.array(z.string()).min(1),
  timeoutMs: z.number().int().min(1),
});
/** A command that the operator wants run with a release. */
export type Task = z.infer<typeof taskSchema>;

/** Where a release's golang-migrate files are. */
const migrationSourceSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("commit"), repository: z.string(), commit: z.string(), path: z.string() }),
  z.strictObject({ kind: z.literal("tree"), repository: z.string(), digest: z.string(), path: z.string() }),
  z.strictObject({ kind: z.literal("image"), image: z.string(), path: z.string() }),
]);

/**
 * `rehearse`: restores the snapshot that was taken into a scratch database, which proves it like `verify`, runs the release's pending
 * migrations there, and, on request, starts the image of the release that serves now against the result: whether it would still work. Nothing of
 * it touches the live database. Without pending migrations only the snapshot is proved, if that is wanted.
 */
export const rehearseRequestSchema = z.strictObject({
  ...step,
  backupLocation: z.string(),
  file: z.string(),
  sha256: z.string(),
  release: releaseSchema,
  source: migrationSourceSchema,
  river: z.boolean(),
  /** To which version of River's schema; the newest that there is unless given. */
  riverVersion: z.int().optional(),
  lockTimeoutMs: z.number().int(),
  statementTimeoutMs: z.number().int(),
  /** What the stack file lets the migrations do, where the rehearsal has to know it. */
  waivers: z.array(waiverSchema).optional(),
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
});
export const rehearseResultSchema = z.strictObject({
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
});

/** An S3-compatible storage to which snapshots are copied. */
const storage = {
  /** Its URL. */
  endpoint: z.string(),
  region: z.string(),
  bucket: z.string(),
  /** In the bucket; empty, or ending with /. */
  prefix: z.string(),
};

/**
 * `copy`: copies a snapshot and its manifest to an S3-compatible storage and compares them there. The credentials are SNAPSHOT_COPY_KEY_ID
 * and SNAPSHOT_COPY_SECRET. Nothing is ever removed there.
 */
export const copyRequestSchema = z.strictObject({
  ...step,
  backupLocation: z.string(),
  file: z.string(),
  sha256: z.string(),
  ...storage,
  failure: z.enum(["error", "warn"]),
});
export const copyResultSchema = z.strictObject({
  /** Where it is; null when it could not be copied, and that was to be a warning. */
  copied: z.string().nullable(),
  reason: z.string().nullable(),
  durationMs: z.number(),
});

/**
 * `fetch`: brings a copy of a snapshot back from the storage, whole or not at all; without a file it only says which copies there
 * are. Credentials as for `copy`.
 */
export const fetchRequestSchema = z.strictObject({
  ...step,
  backupLocation: z.string(),
  ...storage,
  file: z.string().nullable(),
});
export const fetchResultSchema = z.strictObject({
  /** Manifests of the copies that are there; with a file, its own. */
  copies: z.array(z.unknown()),
  /** False when it was on the host already. */
  fetched: z.boolean(),
  durationMs: z.number(),
});

/** `restore`: puts a snapshot in the place of the live database, which is kept under another name; or only says what that would lose. */
export const restoreRequestSchema = z.strictObject({
  ...step,
  ...snapshotChoice,
  mode: z.enum(["check", "restore"]),
  /** With `check`: it is about to be restored, and must not expire before. */
  keep: z.boolean().optional(),
  /** With `restore`: River's jobs that were queued then are put on hold. */
  holdJobs: z.boolean().optional(),
});
export const restoreResultSchema = z.strictObject({
  file: z.string(),
  time: z.string(),
  /** The release before whose migrations it was taken. */
  beforeVersion: z.string(),
  database: z.string(),
  rows: z.number(),
  /** Tables in which the database differs from the snapshot; `written`: rows inserted or changed since, null when nobody can tell. */
  lost: z.array(
    z.strictObject({
      table: z.string(),
      snapshot: z.number().nullable(),
      now: z.number().nullable(),
      written: z.number().nullable(),
    }),
  ),
  /** River's jobs: queued in the snapshot (null where nobody has counted), ended in the database since, and put on hold. Null without River. */
  jobs: z.strictObject({ queued: z.number().nullable(), doneSince: z.number(), held: z.number() }).nullable(),
  /** Whether `lost` has every row that was written since; see data-loss.ts. */
  counted: z.enum(["exact", "without-open", "rows-only"]),
  /** golang-migrate's versions. */
  schema: z.strictObject({ now: z.number().nullable(), snapshot: z.number().nullable() }),
  /** The name under which the database that was live is kept. */
  replaced: z.string().nullable(),
  /** How long new connections waited at most. */
  swapMs: z.number().nullable(),
  durationMs: z.number(),
});

/** `discard`: drops a database that a restore has replaced; null lists them. */
export const discardRequestSchema = z.strictObject({ ...step, database: z.string().nullable() });
export const discardResultSchema = z.strictObject({
  kept: z.array(z.strictObject({ database: z.string(), bytes: z.number() })),
  dropped: z.string().nullable(),
});

/**
 * `migrate`: golang-migrate `up` with the release's own files, then River's tables (rivermigrate).
 * The client sends the files as a tar on the step's stdin, with what the lint has found in them. A database that is ahead of the release is left alone.
 */
export const migrateRequestSchema = z.strictObject({
  ...step,
  release: releaseSchema,
  source: migrationSourceSchema,
  /** River's tables are migrated too. */
  river: z.boolean(),
  /** To which version of River's schema; the newest that there is unless given. */
  riverVersion: z.int().optional(),
  /** What findings of the lint (ops/lint) in files that are about to be applied mean. */
  lint: z.enum(["error", "warn", "off"]),
  /** What the stack file lets them do, by file and rule. */
  waivers: z.array(waiverSchema).optional(),
  /** How long a statement waits for a lock. What the live server does waits behind it: so it is short, and tried again. */
  lockTimeoutMs: z.number().int(),
  /** How often a file is tried that could not have a lock in time, with a pause in between. */
  lockAttempts: z.number().int().min(1),
  statementTimeoutMs: z.number().int(),
});
export const migrateResultSchema = z.strictObject({
  from: z.number().nullable(),
  to: z.number().nullable(),
  /** Highest version among the release's own files: what the gate expects at least. */
  expected: z.number().nullable(),
  applied: z.array(z.string()),
  durationMs: z.number(),
});

/** `gate`: asks the slot itself, not the router, whether it may serve: database, schema version, HTTP, jobs, version. */
export const gateRequestSchema = z.strictObject({
  ...step,
  slot: slotNameSchema,
  release: releaseSchema,
  containerName: z.string(),
  /** In the request so that a replaced container is gated again; the client watches it and fails at once when it exits. */
  containerId: z.string(),
  /** Base URL of the slot in the private network, e.g. http://10.213.3.10:8080. */
  url: z.string(),
  healthPath: z.string(),
  /** Attempts after the grace period, and seconds between them. */
  retries: z.number().int(),
  intervalSeconds: z.number(),
  /** Seconds that a starting server is given before a failed attempt counts; it is polled meanwhile. */
  graceSeconds: z.number(),
  /** Lowest schema version the release needs; null when it has no migrations. */
  expectedMigration: z.number().nullable(),
  /** What to do with a container that was stopped: start it and gate it, or leave it as it is, where an idle slot is meant to be stopped. */
  whenStopped: z.enum(["start", "pass"]),
});
export const gateCheckNames = ["database", "migrations", "http", "jobs"] as const;
export const gateResultSchema = z.strictObject({
  attempts: z.number(),
  durationMs: z.number(),
  checks: z.record(z.enum(gateCheckNames), z.string()),
});

/**
 * `router`: writes nginx's files into the router's volume beside the current ones, `nginx -t`s them, renames, and
 * reloads a running nginx. TLS_CERTIFICATE and TLS_KEY (PEM) come by environment and are written as tls/certificate.pem
 * and tls/key.pem (mode 600). It never writes state/slot.json: until the first switch the router answers 503.
 */
export const routerRequestSchema = z.strictObject({
  ...common,
  /** Image with nginx, njs and nothing of this deployment. */
  image: z.string(),
  volume: z.string(),
  containerName: z.string(),
  /** File name in the configuration directory → content. */
  files: z.record(z.string(), z.string()),
});
export const routerResultSchema = z.strictObject({ digest: z.string(), reloaded: z.boolean() });

/**
 * `task`: runs a command in a one-off container, made like that of the slot that is about to serve, before the switch. Not for a
 * release that has served and kept all traffic: a rollback is to be quick.
 */
export const taskRequestSchema = z.strictObject({
  ...bookkeeping,
  /** From `begin`: it runs once for each deployment. */
  deploymentId: z.string(),
  slot: slotNameSchema,
  release: releaseSchema,
  /** The router's volume, mounted at /router: which release has served. */
  volume: z.string(),
  task: taskSchema,
});
export const taskResultSchema = z.strictObject({
  /** Why it was not run; null when it was. */
  skipped: z.string().nullable(),
  durationMs: z.number(),
});

const rolloutSchema = z.strictObject({
  /** Percent of the requests that the new release gets, one after the other; none: all at once. */
  steps: z.array(z.number().min(1).max(100)),
  /** How long each step is watched. */
  intervalMs: z.number().int().min(0),
  /** How long the release is watched once it has all traffic. */
  bakeMs: z.number().int().min(0),
  /** The same client always gets the same slot. */
  sticky: z.boolean(),
});
/** How traffic moves to a new release. */
export type Rollout = z.infer<typeof rolloutSchema>;

/**
 * `switch`: checks that the target slot is healthy now, persists the slot (fsync, rename), sets it in the running nginx
 * through its unix socket, confirms through the router (X-Togather-Slot and version), and undoes it when not confirmed.
 * Then it asks `checks` through the router; when they fail, all traffic goes back to where it was, and the step fails.
 * With a `rollout`, the target gets a growing share of the requests before, and is watched for some time after: it fails in
 * the same way when it does worse than the release before.
 */
export const switchRequestSchema = z.strictObject({
  ...step,
  activeSlot: slotNameSchema,
  release: releaseSchema,
  /** The router's volume, mounted at /router: state/slot.json and run/control.sock. */
  volume: z.string(),
  /** In the request so that a replaced router is switched and confirmed again. */
  routerContainerId: z.string(),
  /** Base URL of the target slot, and of the router in the private network. */
  slotUrl: z.string(),
  routerUrl: z.string(),
  healthPath: z.string(),
  /** Asked through the router after the switch. */
  checks: z.array(endpointCheckSchema),
  rollout: rolloutSchema,
  /** Run after that, for a release that has not served before. A failure sends traffic back, or is a warning. */
  tasks: z.array(taskSchema.extend({ onFailure: z.enum(["send-back", "warn"]) })).optional(),
});
export const switchResultSchema = z.strictObject({
  from: slotNameSchema.nullable(),
  to: slotNameSchema,
  switchedAt: z.string(),
  durationMs: z.number(),
});

export const standbyModes = ["running", "stopped", "removed"] as const;
/** What becomes of the slot that does not serve. */
export type StandbyMode = (typeof standbyModes)[number];

/**
 * `standby`, on the operator's machine, once a deployment is recorded: brings the slot that does not serve to what it is to
 * be. To be stopped (and then removed, by Pulumi), it is waited for until no request is open on it any more, but not longer than
 * drainMs; then it gets SIGTERM. Never the slot that the router sends requests to.
 */
export const standbyRequestSchema = z.strictObject({
  ...common,
  mode: z.enum(standbyModes),
  /**
   * The slot that is to be stopped, and what it holds; null to keep both running: a flip then changes nothing here. A release that has not
   * served yet is not stopped: somebody wants to look at it.
   */
  idle: z
    .strictObject({
      slot: slotNameSchema,
      release: releaseSchema.nullable(),
      /** In the request so that a container that was made anew, for a rotated secret for instance, is stopped again; null where there is none. */
      containerId: z.string().nullable(),
    })
    .nullable(),
  drainMs: z.number().int().min(0),
});
export const standbyResultSchema = z.strictObject({
  started: z.array(slotNameSchema),
  stopped: slotNameSchema.nullable(),
  /** Requests that were cut off: still open when the time was over. */
  open: z.number(),
  durationMs: z.number(),
});

/** `record`: writes deployment-state.json, closes the deployment in the history, logs SUCCESS. */
export const recordRequestSchema = z.strictObject({
  ...bookkeeping,
  /** From `begin`: whenever a deployment was begun, it is also closed. */
  deploymentId: z.string(),
  activeSlot: slotNameSchema,
  release: releaseSchema,
  slots: z.partialRecord(slotNameSchema, releaseSchema),
  /** The newest so many logs of this deployment stay. */
  logRetention: z.number().int().min(1),
  // Who deployed is read by the client (TOGATHER_DEPLOYED_BY, CI's variables, the user's name): as an input it would
  // make every other operator's `pulumi up` a change.
});
export const recordResultSchema = z.strictObject({ deploymentId: z.string(), file: z.string(), log: z.string() });

/** `prune`: removes images of earlier releases, once a deployment is over. */
export const pruneRequestSchema = z.strictObject({
  ...common,
  /** Tags of the images in use: both slots', and this project's own. */
  keep: z.array(z.string()),
  /** Of each kind, the newest so many others stay too. */
  retention: z.number().int().min(0),
});
export const pruneResultSchema = z.strictObject({ removed: z.array(z.string()) });

/**
 * `develop`: waits until the server of a development container answers, and shows what air and the server say meanwhile.
 * Fails at once when the source doesn't compile or the server ends.
 */
export const developRequestSchema = z.strictObject({
  ...common,
  containerName: z.string(),
  /** In the request so that another container is waited for again. */
  containerId: z.string(),
  /** Port in the container. */
  port: z.number().int(),
  healthPath: z.string(),
  /** In the request so that the server is asked again when the schema has changed. */
  schemaVersion: z.number().nullable(),
  /** How long the first build may take, modules and all. */
  timeoutSeconds: z.number(),
});
export const developResultSchema = z.strictObject({ status: z.number(), durationMs: z.number() });

/**
 * `fail`: writes down that a deployment has failed where no step in a container could: an image that can't be built, a container that
 * can't be made. It is the open one's; without one there is nothing to write down.
 */
export const failRequestSchema = z.strictObject({
  ...bookkeeping,
  /** The deployment that is meant, where that is known: another one may have begun meanwhile. */
  deploymentId: z.string().optional(),
  /** What failed, as the history calls it. */
  phase: z.string(),
  slot: slotNameSchema.optional(),
  version: z.string().optional(),
  error: z.string(),
});
export const failResultSchema = z.strictObject({ deploymentId: z.string().nullable() });

/** Every step with its request and result. */
export const contract = {
  build: { request: buildRequestSchema, result: buildResultSchema },
  begin: { request: beginRequestSchema, result: beginResultSchema },
  database: { request: databaseRequestSchema, result: databaseResultSchema },
  snapshot: { request: snapshotRequestSchema, result: snapshotResultSchema },
  verify: { request: verifyRequestSchema, result: verifyResultSchema },
  copy: { request: copyRequestSchema, result: copyResultSchema },
  fetch: { request: fetchRequestSchema, result: fetchResultSchema },
  rehearse: { request: rehearseRequestSchema, result: rehearseResultSchema },
  restore: { request: restoreRequestSchema, result: restoreResultSchema },
  discard: { request: discardRequestSchema, result: discardResultSchema },
  migrate: { request: migrateRequestSchema, result: migrateResultSchema },
  gate: { request: gateRequestSchema, result: gateResultSchema },
  router: { request: routerRequestSchema, result: routerResultSchema },
  task: { request: taskRequestSchema, result: taskResultSchema },
  switch: { request: switchRequestSchema, result: switchResultSchema },
  standby: { request: standbyRequestSchema, result: standbyResultSchema },
  record: { request: recordRequestSchema, result: recordResultSchema },
  fail: { request: failRequestSchema, result: failResultSchema },
  prune: { request: pruneRequestSchema, result: pruneResultSchema },
  develop: { request: developRequestSchema, result: developResultSchema },
} as const;
export type StepName = keyof typeof contract;
export type StepRequest<S extends StepName> = z.infer<(typeof contract)[S]["request"]>;
export type StepResult<S extends StepName> = z.infer<(typeof contract)[S]["result"]>;
