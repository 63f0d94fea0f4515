import { isIP } from "node:net";
import * as z from "zod";
import { secretKeys, type SecretKey } from "../secrets/table.ts";
import { standbyModes } from "../../ops/contract/steps.ts";
import { rules } from "../../ops/lint/rules.ts";
import { environmentNames } from "./environments.ts";
import { duration, milliseconds } from "./duration.ts";
import { ipNetwork } from "./ip-network.ts";
import { isCovered, listenAddresses } from "./listen-addresses.ts";
import { rolloutSchema } from "./rollout.ts";
import { tasksSchema } from "./tasks.ts";

/** Name of an environment variable. */
const variableName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, "expected the name of an environment variable, such as SERVER_PORT");
/** A memory size: megabytes or gigabytes, in Docker's notation. */
const memorySize = z.string().regex(/^[1-9]\d{0,5}[mg]$/, "expected a size such as 256m or 1g");

const isWholeSeconds = (text: string): boolean => milliseconds(text) >= 1000 && milliseconds(text) % 1000 === 0;
const wholeSeconds = "expected whole seconds, one at least";

/** Secrets that every server gets beside its DATABASE_URL, unless `source.unreadSecrets` excludes them. */
export const serverSecretNames = ["JWT_SECRET", "ADMIN_API_KEY"] as const;

/** `https://host` or `http://host:port`, and nothing more; or empty. */
function isOrigin(text: string): boolean {
  if (text === "") return true;
  return (
    /^https?:\/\//i.test(text) && URL.canParse(text) && new URL(text).origin === text.toLowerCase().replace(/\/$/, "")
  );
}
const port = z.int().min(1).max(65535);
const slotName = z.enum(["blue", "green"]);

/** A release in a slot: a git commit of the source repository, or an image by digest. */
const release = z.union(
  [
    z.strictObject({
      version: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$/),
      commit: z.string().regex(/^([0-9a-f]{7,40}|tree-[0-9a-f]{12,64})$/),
    }),
    z.strictObject({
      version: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$/),
      image: z.string().regex(/^[^\s@]+@sha256:[0-9a-f]{64}$/),
    }),
  ],
  {
    error: (issue) =>
      `expected { version: v1.2.3, commit: <7 to 40 hex digits> } or { version: v1.2.3, image: name@sha256:<digest> }, found ${JSON.stringify(issue.input)} (quote what YAML would take for a number)`,
  },
);
export type ReleaseSetting = z.infer<typeof release>;

const secretFields = Object.fromEntries(secretKeys.map((key) => [key, z.string().default("")])) as Record<
  SecretKey,
  z.ZodDefault<z.ZodString>
>;

/**
 * The keys of a stack file under `togather:`. Pulumi.yaml declares the same keys with the same defaults for `pulumi
 * config`; docs/documents.test.ts compares the two.
 */
export const stackSettingsSchema = z.strictObject({
  /** Selects the rules: see environments.ts. */
  environment: z.enum(environmentNames, {
    error: (issue) => `expected production, staging or development, found ${JSON.stringify(issue.input)}`,
  }),
  /**
   * Prefix of containers, volumes and the network. Default: the environment's name; two deployments on one host need
   * different ones.
   */
  name: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,30}$/, "expected lower-case letters, digits and dashes, at most 31, a letter first")
    .optional(),
  /** The slot that serves. Flip it to release or to roll back. */
  activeSlot: slotName.default("blue"),
  /** The release of each slot. */
  slots: z.strictObject({ blue: release.optional(), green: release.optional() }).prefault({}),
  /** Docker host, e.g. ssh://deploy@example.org; the local engine (DOCKER_HOST) when empty. */
  host: z
    .string()
    .regex(/^(|(ssh|tcp|unix):\/\/\S+)$/, "expected ssh://user@host, tcp://host:port or unix:///path")
    .default(""),
  /**
   * Addresses on which the router (in development the server) listens, separated by commas. Empty: the environment's
   * default, see environments.ts.
   */
  listenAddress: z
    .string()
    .refine(
      (text) => text === "" || listenAddresses(text).every((one) => isIP(one) !== 0),
      'expected an address, or several with commas between them, such as "0.0.0.0, ::" for IPv4 and IPv6',
    )
    .refine(
      (text) => listenAddresses(text).every((one, _, all) => !isCovered(one, all)),
      "0.0.0.0 stands for every IPv4 address and :: for every IPv6 address: leave out the addresses that they cover",
    )
    .default(""),
  /** The URL that visitors use, such as https://events.example.org. Empty: derived from other settings. */
  publicUrl: z
    .string()
    .refine(isOrigin, "expected a URL without a path, such as https://events.example.org")
    .default(""),
  /** Public ports of the router. */
  ports: z.strictObject({ http: port.default(80), https: port.default(443) }).prefault({}),
  /** The router's own settings. */
  router: z
    .strictObject({
      /** Paths that are not public, with everything below them: answered with 404. Not the health endpoint's path. */
      closedPaths: z
        .array(z.string().regex(/^(\/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$/, "expected a path such as /metrics"))
        .default(["/metrics"]),
      /** Largest body of a request. */
      maxBodySize: memorySize.default("32m"),
      /** Longest silence of a server before its request is given up with 504. */
      serverTimeout: duration("1h").refine(isWholeSeconds, wholeSeconds).default("120s"),
      /** Longest silence of a client in the middle of a body before its request is given up. */
      clientTimeout: duration("1h").refine(isWholeSeconds, wholeSeconds).default("30s"),
      /** Time that nginx's workers replaced by a reload have to end their open requests. */
      reloadTimeout: duration("1h").refine(isWholeSeconds, wholeSeconds).default("30s"),
      /** Time for which an idle connection to a slot is kept: less than its server's, since a request on a closing one causes a 502. */
      idleTimeout: duration("1h").refine(isWholeSeconds, wholeSeconds).default("4s"),
      /** Addresses or networks of proxies before the router: only their headers about visitors are believed. */
      trustedProxies: z
        .array(
          z
            .string()
            .refine(
              (text) => ipNetwork(text) !== undefined,
              "expected an address or a network such as 192.0.2.10, 192.0.2.0/24 or 2001:db8::/32, not one for everybody; a provider's networks are those that it lists",
            ),
        )
        // A step's whole request is one environment variable, of 128 KiB at most.
        .max(500)
        .default([]),
      /** Connections begin with a PROXY protocol header, version 1 or 2, which says who the visitor is. */
      proxyProtocol: z.boolean().default(false),
    })
    .prefault({}),
  /** Ports of the slots on the host's loopback, for people: the reference's 8080 and 8081. */
  slotPorts: z.strictObject({ blue: port.default(8080), green: port.default(8081) }).prefault({}),
  /** Port of the bundled database on the host's loopback. */
  databasePort: port.default(15432),
  /** The database that the server uses. */
  database: z
    .strictObject({
      /** A container of this stack, or an external database: DATABASE_URL. */
      mode: z
        .enum(["bundled", "external"], {
          error: (issue) => `expected bundled or external, found ${JSON.stringify(issue.input)}`,
        })
        .default("bundled"),
      /** Docker network of an external database; slots and steps join it. Empty: it is reached without one. */
      network: z
        .string()
        .regex(/^(|[A-Za-z0-9][A-Za-z0-9_.-]*)$/, "expected the name of a Docker network")
        .default(""),
      /** Extensions that the server needs: created in the bundled database, required in an external one. */
      extensions: z
        .array(z.string().regex(/^[a-z][a-z0-9_-]*$/, "expected names of extensions such as postgis"))
        .default(["postgis", "vector", "pg_trgm"]),
      /** max_connections of the bundled database. Default: PostgreSQL's 100. A change replaces its container. */
      maxConnections: z.int().min(25).max(10_000).optional(),
    })
    .prefault({}),
  /** Private network, an IPv4 /24. Empty: derived from the name. */
  subnet: z
    .string()
    .regex(/^(|(\d{1,3}\.){3}0\/24)$/, "expected an IPv4 network such as 10.213.7.0/24")
    .default(""),
  /** Certificate and key (PEM files on the operator's machine). Missing: no HTTPS. */
  tls: z.strictObject({ certificateFile: z.string().min(1), keyFile: z.string().min(1) }).optional(),
  /** The server's source. */
  source: z
    .strictObject({
      /** Directory of its git repository, relative to this project. */
      repository: z.string().default("."),
      /** Paths of a commit that go into the image's build context. */
      paths: z.array(z.string().min(1)).min(1).default(["server", "migrations"]),
      dockerfile: z.string().min(1).default("server/Dockerfile"),
      /** Build arguments beside VERSION, COMMIT and CREATED, with placeholders (placeholders.ts). No secrets. */
      buildArguments: z.record(variableName, z.string()).default({}),
      /** golang-migrate files: path in the repository, or in the image of a release by digest. */
      migrations: z.string().default("migrations"),
      /** Port on which the server listens in its container. */
      port: port.default(8080),
      /** Variable with the server's port. */
      portVariable: variableName.default("PORT"),
      /** Variable with the server's log level. */
      logLevelVariable: variableName.default("LOG_LEVEL"),
      /** Variables of the server beyond those that the deployment sets, with placeholders (placeholders.ts). */
      environment: z.record(variableName, z.string()).default({}),
      /** Names of the server's own secrets: looked up like the others, in the config under `secrets`. */
      secrets: z.array(variableName).default([]),
      /** Minimum number of characters that the server requires of some of these. */
      secretLengths: z.record(variableName, z.int().min(1).max(1024)).default({}),
      /** Secrets of every server that this one doesn't read: it doesn't get them, and nobody has to provide them. */
      unreadSecrets: z
        .array(
          z.enum(serverSecretNames, {
            error: (issue) => `expected JWT_SECRET or ADMIN_API_KEY, found ${JSON.stringify(issue.input)}`,
          }),
        )
        .default([]),
      /** Directory of the Go module in the repository, which development builds. */
      module: z.string().default("server"),
      /** The server's main package in it, for development. */
      package: z.string().min(1).default("."),
      /** The server's own arguments, for development. */
      arguments: z.array(z.string()).default([]),
      healthPath: z.string().startsWith("/").default("/health"),
      /** River's own tables are migrated too. */
      river: z.boolean().default(true),
      /** The version of River's schema. Null: the newest that this project's River has. */
      riverVersion: z.int().min(1).max(1000).nullable().default(null),
      /**
       * Writable paths of its container, beside the database: all of them are in memory, and are gone with the
       * container.
       */
      container: z
        .strictObject({
          /** Size of /dev/shm. Default: Docker's 64 MB. A browser needs more. */
          shmSize: memorySize.optional(),
          /** Size of /tmp, and of its home. */
          tmpSize: memorySize.default("64m"),
          /** Its user's home, which becomes writable; the root file system does not. */
          home: z
            .string()
            .regex(
              /^\/(?!(tmp|dev|proc|sys|etc|usr|bin|lib|lib64|sbin|run|var)(\/|$))[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/,
              "expected an absolute path such as /home/togather, no directory of the system",
            )
            .optional(),
        })
        .prefault({}),
      /** Commands that run with each release, in its image. */
      tasks: tasksSchema.default([]),
    })
    .prefault({}),
  /** Exceptions for the migrations of a release. */
  migrations: z
    .strictObject({
      /**
       * Findings of the lint that are allowed, each by file and rule: for a server whose files this operator can't
       * edit.
       */
      allow: z
        .array(
          z.strictObject({
            file: z
              .string()
              .regex(
                /^\d+_[^/]*\.up\.[^/]+$/,
                "expected the name of a migration without its directory, such as 000044_x.up.sql",
              ),
            rule: z.string().refine((rule) => Object.hasOwn(rules, rule) || rule.startsWith("squawk/"), {
              error: (issue) =>
                `${JSON.stringify(issue.input)} is not a rule of the lint: docs/migrations.md lists them`,
            }),
            reason: z.string().trim().min(1, "expected why it does no harm"),
          }),
        )
        .default([]),
    })
    .prefault({}),
  /** File with secrets, relative to this project. Default: `.env.<environment>`. */
  secretsFile: z.string().default(""),
  /** The move of traffic to a new release: at once, or in steps that are watched. */
  rollout: rolloutSchema,
  /** The state of the slot that has served, once the other one does. */
  standby: z
    .enum(standbyModes, {
      error: (issue) => `expected running, stopped or removed, found ${JSON.stringify(issue.input)}`,
    })
    .default("running"),
  /** Longest wait for open requests before a slot is stopped. */
  drainTimeout: duration("1h").default("60s"),
  /** Values that differ from deployment.yml in this stack. */
  deployment: z.record(z.string(), z.unknown()).prefault({}),
  /** Skip snapshot and migrations, e.g. for a hotfix without schema changes. */
  skipMigrations: z.boolean().default(false),
  /**
   * Allow a change to the slot that serves, which interrupts traffic, and a deployment beside another that holds the
   * lock.
   */
  force: z.boolean().default(false),
  /**
   * Commit (or digest), at least its first seven digits, of a release that this host has sent back and that shall be
   * released again.
   */
  releaseAgain: z
    .string()
    .regex(
      /^(|(sha256:)?[0-9a-f]{7,64})$/,
      "expected the commit of the release, or its first digits from seven up, in quotes",
    )
    .default(""),
  // Their purposes: docs/settings.md.
  ...secretFields,
  /** Values of `source.secrets`. */
  secrets: z.record(variableName, z.string()).prefault({}),
});
export type StackSettings = z.infer<typeof stackSettingsSchema>;
