import { parseDocument } from "yaml";
import * as z from "zod";
import { snapshotFormats } from "../../ops/contract/snapshot-format.ts";
import { keysAt, problemsOf, type Problem } from "../problems.ts";

const absolutePath = z
  .string()
  .regex(/^\/\S(.*\S)?$/, "expected an absolute path on the Docker host, e.g. /var/backups/togather");

const endpointCheck = z.strictObject({
  path: z.string().regex(/^\/[^\s#]*$/, "expected a path such as /health"),
  status: z.int().min(200).max(599).default(200),
});

/**
 * deployment.yml: the behaviour of deployments. Keys and defaults of the reference document (its "deployment.yml"
 * section), plus `logging` and `state`, whose locations the reference names in its text.
 */
export const deploymentFileSchema = z.strictObject({
  deployment: z
    .strictObject({
      strategy: z
        .literal("blue-green", { error: "expected blue-green, the only strategy there is" })
        .default("blue-green"),
      /** Attempts of the gate after the grace period. */
      health_check_retries: z.int().min(1).max(1000).default(30),
      /** Seconds between two attempts. */
      health_check_interval: z.number().min(0.1).max(60).default(2),
      /** Time for a starting server before a failed attempt counts, in seconds. It is polled meanwhile. */
      grace_period: z.number().min(0).max(600).default(10),
      /** Requested through the router after a switch; traffic goes back when they fail. `auto`: by environment. */
      post_switch_checks: z
        .union([z.literal("auto"), z.array(endpointCheck).max(20)], {
          error: (issue) =>
            `expected auto or a list such as [{ path: /health, status: 200 }], found ${JSON.stringify(issue.input)}`,
        })
        .default("auto"),
      /**
       * Run on the machine that runs Pulumi when a deployment has failed or was sent back: program and arguments, no
       * shell.
       */
      failure_command: z
        .array(z.string(), {
          error: (issue) =>
            `expected a list of words, such as [./tell-us.sh, deployments], found ${JSON.stringify(issue.input)}`,
        })
        .refine(
          ([program = ""]) => program !== "",
          "expected a program and its arguments, such as [./tell-us.sh, deployments]",
        )
        .nullable()
        .default(null),
    })
    .prefault({}),
  database: z
    .strictObject({
      /** Number of snapshots that stay. */
      snapshot_retention: z.int().min(1).max(1000).default(7),
      /** Minimum number of verified snapshots that stay, the newest, whatever their age. */
      snapshot_keep_verified: z.int().min(0).max(1000).default(2),
      /**
       * Format of snapshots: SQL compressed with gzip or zstd, or pg_dump's directory format, by several processes at
       * once.
       */
      snapshot_format: z
        .enum(snapshotFormats, {
          error: (issue) => `expected sql.gz, sql.zst or directory, found ${JSON.stringify(issue.input)}`,
        })
        .default("sql.gz"),
      /** Public keys of age that snapshots are encrypted for. Empty: not encrypted. */
      snapshot_recipients: z
        .array(z.string().regex(/^age1[0-9a-z]{58}$/, "expected a public key of age (age1…), which age-keygen prints"))
        .max(20)
        .default([]),
      /** An S3-compatible storage to which snapshots are copied after a deployment. Nothing is removed there. */
      snapshot_copy: z
        .strictObject({
          endpoint: z.url({
            protocol: /^https?$/,
            error: (issue) => `expected a URL such as https://s3.example.org, found ${JSON.stringify(issue.input)}`,
          }),
          region: z.string().min(1).default("us-east-1"),
          bucket: z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, "expected the name of a bucket"),
          prefix: z
            .string()
            .regex(/^(|[A-Za-z0-9][\w./-]*\/)$/, "expected nothing, or a path that ends with /, such as togather/")
            .default(""),
          /** The effect of a snapshot that can't be copied. */
          failure: z.enum(["error", "warn"]).default("error"),
        })
        .nullable()
        .default(null),
      /**
       * Whether a snapshot is proved by a restore into a scratch database: before the migrations, where a server that
       * doesn't allow it is an error (`required`) or a warning (`when-possible`), or after the deployment. `auto`: by
       * environment.
       */
      snapshot_verify: z
        .enum(["auto", "required", "when-possible", "background", "never"], {
          error: (issue) =>
            `expected auto, required, when-possible, background or never, found ${JSON.stringify(issue.input)}`,
        })
        .default("auto"),
      /**
       * Whether pending migrations run on a scratch restore of the snapshot first; a server that doesn't allow it is an error (`required`)
       * or a warning (`when-possible`). `auto`: by environment.
       */
      migration_rehearsal: z
        .enum(["auto", "required", "when-possible", "never"], {
          error: (issue) => `expected auto, required, when-possible or never, found ${JSON.stringify(issue.input)}`,
        })
        .default("auto"),
      /** The effect of a serving release that does not work on the migrated copy. `auto`: by environment. */
      serving_release_check: z
        .enum(["auto", "error", "warn", "off"], {
          error: (issue) => `expected auto, error, warn or off, found ${JSON.stringify(issue.input)}`,
        })
        .default("auto"),
      /** Directory on the Docker host. */
      backup_location: absolutePath.default("/var/backups/togather"),
    })
    .prefault({}),
  logging: z
    .strictObject({
      location: absolutePath.default("/var/log/togather/deployments"),
      /** Number of deployments whose logs stay, the newest. */
      retention: z.int().min(1).max(100_000).default(100),
    })
    .prefault({}),
  images: z
    .strictObject({
      /** Number of earlier releases whose images stay, beside those of both slots. */
      retention: z.int().min(0).max(1000).default(3),
    })
    .prefault({}),
  state: z.strictObject({ location: absolutePath.default("/var/lib/togather") }).prefault({}),
});
export type DeploymentFile = z.infer<typeof deploymentFileSchema>;

type Tree = Record<string, unknown>;
const isTree = (value: unknown): value is Tree => typeof value === "object" && value !== null && !Array.isArray(value);

/**
 * Merges `over` into `base`, key by key. null removes the key from `base`, so that the default applies; for a section,
 * null is YAML's empty section and changes nothing.
 */
function merged(base: unknown, over: unknown, depth = 0): unknown {
  if (over === undefined) return base;
  if (over === null) return depth > 1 ? undefined : base;
  if (!isTree(over)) return over;
  const under = isTree(base) ? base : {};
  return Object.fromEntries(
    [...new Set([...Object.keys(under), ...Object.keys(over)])].map((key) => [
      key,
      merged(under[key], over[key], depth + 1),
    ]),
  );
}

/**
 * Parses deployment.yml and merges a stack's `togather:deployment` into it.
 * @param text the file's content; undefined when there is no file (all defaults).
 * @param overrides the stack's own values, for differences between environments.
 */
export function parseDeploymentFile(
  text: string | undefined,
  overrides: unknown,
): { value?: DeploymentFile; problems: Problem[] } {
  const document = parseDocument(text ?? "", { prettyErrors: true });
  if (document.errors.length > 0) {
    return {
      problems: document.errors.map((error) => ({
        where: "deployment.yml",
        what: error.message.split("\n")[0] ?? "is not YAML",
      })),
    };
  }
  const fromFile = (document.toJS() as unknown) ?? {};
  if (!isTree(fromFile)) {
    return {
      problems: [
        { where: "deployment.yml", what: "expected keys such as `deployment:` and `database:`, found something else" },
      ],
    };
  }
  const parsed = deploymentFileSchema.safeParse(merged(fromFile, overrides));
  if (parsed.success) return { value: parsed.data, problems: [] };
  const overridden = (path: readonly PropertyKey[]): boolean => {
    let at: unknown = overrides;
    for (const key of path) at = isTree(at) ? at[String(key)] : undefined;
    return at !== undefined;
  };
  return {
    problems: problemsOf(
      parsed.error,
      (path) => (overridden(path) ? ["togather:deployment", ...path].join(".") : `deployment.yml: ${path.join(".")}`),
      (path) => keysAt(deploymentFileSchema, path),
    ),
  };
}
