import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Release, SlotName } from "../ops/contract/steps.ts";
import { certificateProblems, describeCertificate, isCertificateOf } from "./certificate.ts";
import { parseDeploymentFile, type DeploymentFile } from "./schema/deployment-file.ts";
import { environmentRules, type EnvironmentName, type EnvironmentRules, type Severity } from "./schema/environments.ts";
import { unknownPlaceholders } from "./placeholders.ts";
import { keysAt, problemsOf, SettingsError, type Problem } from "./problems.ts";
import { SecretMemory } from "./secrets/secret-memory.ts";
import { checkDatabaseUrl } from "./database-access.ts";
import {
  isOwn,
  placeholderProblems,
  readSecretsFile,
  resolveSecrets,
  reusedSecrets,
  secretsFileOf,
  untrimmedSecrets,
  weakSecrets,
  type OwnSecret,
} from "./secrets/secrets.ts";
import { snapshotRules } from "./schema/snapshot-rules.ts";
import { secretKeys, stackSettingsSchema, type ReleaseSetting, type StackSettings } from "./schema/stack-settings.ts";
import { taskProblems } from "./schema/tasks.ts";
import { readTls, tlsNames, type TlsPair } from "./tls.ts";

/** What a slot is to run, and where it comes from. */
export interface SlotRelease extends Release {
  /** `name@sha256:…` of an image that is pulled; otherwise it is built from `commit`. */
  image?: string;
}

/** Fixed addresses in the private network: nginx must not depend on names that may not resolve. */
export interface Addresses {
  router: string;
  blue: string;
  green: string;
  database: string;
}

/** The private network, an IPv4 /24. */
export interface PrivateNetwork {
  subnet: string;
  gateway: string;
  /**
   * Where Docker takes addresses for containers without a fixed one, such as those of the steps: never from the lower half,
   * or one of them may sit on the router's address at the moment it starts.
   */
  dynamicRange: string;
}

/** The values of a deployment's secrets. */
export interface Secrets {
  /** Undefined where the server doesn't read it. */
  jwtSecret: string | undefined;
  adminApiKey: string | undefined;
  /** The server's own, by variable. */
  server: Record<string, string>;
}

/** The database and how to get into it. */
export type DatabaseSettings = Omit<StackSettings["database"], "mode"> &
  (
    | { mode: "bundled"; password: string }
    /** `url` has the role of the server, `migrationUrl` that of the schema's owner, who may be the same, `adminUrl` one that may make databases. */
    | { mode: "external"; url: string; migrationUrl: string; adminUrl: string | undefined }
  );

/** Everything the stack is told, validated and with defaults. */
export interface Settings extends Omit<
  StackSettings,
  "name" | "slots" | "tls" | "deployment" | "subnet" | "database" | "secrets" | (typeof secretKeys)[number]
> {
  name: string;
  environment: EnvironmentName;
  rules: EnvironmentRules;
  slots: Partial<Record<SlotName, SlotRelease>>;
  network: PrivateNetwork;
  addresses: Addresses;
  tls: TlsPair | undefined;
  deployment: DeploymentFile;
  database: DatabaseSettings;
  /** What reads encrypted snapshots. */
  snapshotIdentity: string | undefined;
  /** Of the storage to which snapshots are copied; undefined where they are not. */
  snapshotCopyCredentials: { keyId: string; secret: string } | undefined;
  secrets: Secrets;
  /** Broken rules that this environment only warns of. */
  warnings: string[];
}

/** Where settings come from. */
export interface SettingsSources {
  /** The stack's config under `togather:`, without the prefix. Structured values are JSON texts, as Pulumi gives them. */
  config: Readonly<Record<string, string>>;
  /** Keys of it that Pulumi keeps encrypted; undefined where nobody knows (unit tests). */
  encryptedKeys?: ReadonlySet<string> | undefined;
  environment: NodeJS.ProcessEnv;
  /** Directory of the Pulumi project. */
  projectDirectory: string;
}

/** Pulumi hands over every config value as text: numbers, booleans, objects and lists are told by their JSON. */
function decode(key: string, text: string): unknown {
  // A commit may look like a number: 1234567, 12345e7.
  if (key === "releaseAgain" || (secretKeys as readonly string[]).includes(key)) return text;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "string" ? text : value;
  } catch {
    return text;
  }
}

function toRelease(setting: ReleaseSetting): SlotRelease {
  if ("commit" in setting) return setting;
  return {
    version: setting.version,
    commit: setting.image.slice(setting.image.indexOf("@") + 1),
    image: setting.image,
  };
}

/** A /24 of its own for each name, so that deployments side by side don't ask for the same network. */
function subnetOf(name: string): string {
  return `10.213.${createHash("sha256").update(name).digest().readUInt8(0)}.0/24`;
}

function networkIn(subnet: string): { network: PrivateNetwork; addresses: Addresses } {
  const prefix = subnet.slice(0, subnet.lastIndexOf(".") + 1);
  return {
    network: { subnet, gateway: `${prefix}1`, dynamicRange: `${prefix}128/25` },
    addresses: { router: `${prefix}2`, blue: `${prefix}10`, green: `${prefix}11`, database: `${prefix}20` },
  };
}

/** What the config says by itself, without the files that it names. */
export function parseConfig(sources: Pick<SettingsSources, "config">): { value?: StackSettings; problems: Problem[] } {
  const raw = Object.fromEntries(Object.entries(sources.config).map(([key, text]) => [key, decode(key, text)]));
  const parsed = stackSettingsSchema.safeParse(raw);
  if (parsed.success) return { value: parsed.data, problems: [] };
  return {
    problems: problemsOf(
      parsed.error,
      (path) => `togather:${path.map(String).join(".")}`,
      (path) => keysAt(stackSettingsSchema, path),
    ),
  };
}

/** Variables of the server that the deployment sets itself, and that therefore nobody else may. */
export function reservedVariables({
  portVariable,
  unreadSecrets,
}: Pick<StackSettings["source"], "portVariable" | "unreadSecrets">): string[] {
  const unread: readonly string[] = unreadSecrets;
  return ["DATABASE_URL", "JWT_SECRET", "ADMIN_API_KEY", "SLOT", portVariable].filter((name) => !unread.includes(name));
}

/** What is wrong with the server's own variables and secrets, taken together. */
function serverProblems({ source, secrets }: StackSettings): Problem[] {
  const reserved = reservedVariables(source);
  const set = [
    ...Object.keys(source.environment).map((name) => ({ name, key: `environment.${name}` })),
    ...source.secrets.map((name, index) => ({ name, key: `secrets[${index}]` })),
  ];
  return [
    ...set
      .filter(({ name }) => reserved.includes(name))
      .map(({ name, key }) => ({
        where: `togather:source.${key}`,
        what: `${name} is set by the deployment itself`,
        fix: "leave it out here",
      })),
    ...source.secrets
      .filter((name) => name in source.environment)
      .map((name) => ({
        where: `togather:source.environment.${name}`,
        what: "is in togather:source.secrets too",
        fix: "leave it out in one of them",
      })),
    ...Object.keys(source.secretLengths)
      .filter((name) => !source.secrets.includes(name))
      .map((name) => ({
        where: `togather:source.secretLengths.${name}`,
        what: "is not among togather:source.secrets",
        fix: `pulumi config set --path togather:source.secrets[${source.secrets.length}] ${name}`,
      })),
    ...Object.keys(secrets)
      .filter((name) => !source.secrets.includes(name))
      .map((name) => ({
        where: `togather:secrets.${name}`,
        what: "is not among togather:source.secrets, so that the server would not get it",
        fix: `pulumi config set --path togather:source.secrets[${source.secrets.length}] ${name}`,
      })),
  ];
}

/** Settings that make no sense with the kind of database that was chosen. */
function databaseProblems({ database, databaseUrl, migrationDatabaseUrl, databaseAdminUrl }: StackSettings): Problem[] {
  if (database.mode === "external") {
    if (database.maxConnections === undefined) return [];
    return [
      {
        where: "togather:database.maxConnections",
        what: "is for the bundled database, but togather:database.mode is external",
        fix: "pulumi config rm --path togather:database.maxConnections, and set max_connections on its server",
      },
    ];
  }
  const forExternal = { "database.network": database.network, databaseUrl, migrationDatabaseUrl, databaseAdminUrl };
  return Object.entries(forExternal)
    .filter(([, value]) => value !== "")
    .map(([key]) => ({
      where: `togather:${key}`,
      what: "is for an external database, but togather:database.mode is bundled",
      fix: "pulumi config set --path togather:database.mode external",
    }));
}

/** What is wrong with settings of an environment that runs the working tree, and has no slots, no router and no HTTPS. */
function developmentProblems(
  { environment, slots, tls, host, source }: StackSettings,
  projectDirectory: string,
): Problem[] {
  const problems: Problem[] = [];
  const held = Object.keys(slots);
  if (held.length > 0) {
    problems.push({
      where: "togather:slots",
      what: `${held.join(" and ")} ${held.length === 1 ? "holds a release" : "hold releases"}, but ${environment} has no slots: it runs the working tree`,
      fix: "pulumi config rm togather:slots; or choose the environment staging, which releases commits",
    });
  }
  if (tls !== undefined)
    problems.push({
      where: "togather:tls",
      what: `is set, but ${environment} has no router and serves plain HTTP only`,
      fix: "pulumi config rm togather:tls",
    });
  if (host !== "" && !host.startsWith("unix://")) {
    problems.push({
      where: "togather:host",
      what: `${host} is another machine, where the working tree of this one can't be mounted`,
      fix: `pulumi config rm togather:host; ${environment} needs the local Docker engine`,
    });
  }
  for (const [key, path] of [
    ["module", source.module],
    ["migrations", source.migrations],
  ] as const) {
    if (existsSync(resolve(projectDirectory, source.repository, path))) continue;
    problems.push({
      where: `togather:source.${key}`,
      what: `${path} is not in ${source.repository === "." ? "this project" : source.repository}, expected a directory there`,
      fix: "togather:source.repository, .module and .migrations name directories of the working tree",
    });
  }
  return problems;
}

/** What of the encryption of snapshots does not go together. */
function encryptionProblems(
  { database }: DeploymentFile,
  rules: EnvironmentRules,
  identity: OwnSecret | undefined,
): Problem[] {
  const problems: Problem[] = [];
  if (identity !== undefined && !/^AGE-SECRET-KEY-1[0-9A-Z]{58}$/.test(identity.value)) {
    problems.push({
      where: identity.from,
      what: "is no secret key of age, expected AGE-SECRET-KEY-1 and 58 letters and digits",
      fix: "age-keygen prints one, and the public key for database.snapshot_recipients",
    });
  }
  if (database.snapshot_recipients.length === 0) return problems;
  if (database.snapshot_format === "directory") {
    problems.push({
      where: "database.snapshot_recipients",
      what: "snapshots in the format directory can't be encrypted",
      fix: "database.snapshot_format: sql.zst",
    });
  }
  const { verify, rehearse } = snapshotRules(database, rules);
  if (identity === undefined && [verify, rehearse].includes("required")) {
    problems.push({
      where: "togather:snapshotIdentity",
      what: "is missing: snapshots are encrypted (database.snapshot_recipients), and have to be restored to be proved",
      fix: 'pulumi config set --secret togather:snapshotIdentity "AGE-SECRET-KEY-1…", or database.snapshot_verify and database.migration_rehearsal when-possible, which then only compare checksums',
    });
  }
  return problems;
}

/** deployment.yml with the stack's own values. */
export function readDeploymentFile({
  config,
  projectDirectory,
}: Pick<SettingsSources, "config" | "projectDirectory">): ReturnType<typeof parseDeploymentFile> {
  const file = resolve(projectDirectory, "deployment.yml");
  return parseDeploymentFile(
    existsSync(file) ? readFileSync(file, "utf8") : undefined,
    decode("deployment", config["deployment"] ?? "{}"),
  );
}

/**
 * Reads and checks all settings of a stack before anything else happens.
 * @throws {SettingsError} with every problem at once.
 */
export function loadSettings(sources: SettingsSources): Settings {
  const problems: Problem[] = [];
  const warnings: string[] = [];
  const { value: stack, problems: stackProblems } = parseConfig(sources);
  problems.push(...stackProblems);
  for (const key of [...secretKeys, "secrets"]) {
    if ((sources.config[key] ?? "") === "" || sources.encryptedKeys === undefined || sources.encryptedKeys.has(key))
      continue;
    problems.push({
      where: `togather:${key}`,
      what: "is a secret in plain text",
      fix: `pulumi config set --secret togather:${key}, and make a new one`,
    });
  }

  const deployment = readDeploymentFile(sources);
  problems.push(...deployment.problems);
  if (stack === undefined) throw new SettingsError(problems);

  const rules = environmentRules[stack.environment];
  const broken = (severity: Severity, problem: Problem): void => {
    if (severity === "error") problems.push(problem);
    else if (severity === "warn") warnings.push(`${problem.where}: ${problem.what}`);
  };

  const secretsFile = secretsFileOf(stack);
  const file = readSecretsFile(resolve(sources.projectDirectory, secretsFile), secretsFile);
  const { value: found, problems: missing } = resolveSecrets(
    { environment: sources.environment, file: file.file, config: stack },
    {
      database: stack.database.mode,
      snapshotCopy: rules.blueGreen && (deployment.value?.database.snapshot_copy ?? null) !== null,
      server: stack.source.secrets,
      lengths: stack.source.secretLengths,
      unread: stack.source.unreadSecrets,
    },
  );
  problems.push(
    ...file.problems,
    ...missing,
    ...serverProblems(stack),
    ...taskProblems(stack.source.tasks),
    ...unknownPlaceholders(stack),
    ...databaseProblems(stack),
  );
  const url = found.databaseUrl && checkDatabaseUrl(found.databaseUrl);
  const migrationUrl = found.migrationDatabaseUrl && checkDatabaseUrl(found.migrationDatabaseUrl);
  const adminUrl = found.databaseAdminUrl && checkDatabaseUrl(found.databaseAdminUrl);
  for (const checked of [url, migrationUrl, adminUrl]) {
    problems.push(...(checked?.problems ?? []));
    for (const problem of checked?.withoutTls ?? []) broken(rules.databaseTls, problem);
  }
  // Of a URL, it is the password that somebody may guess.
  const withPassword = (secret: OwnSecret | undefined, password: string | undefined): OwnSecret[] =>
    secret === undefined || password === undefined ? [] : [{ ...secret, value: password }];
  const own = [
    ...[found.jwtSecret, found.adminApiKey, found.databasePassword].filter((secret) => secret !== undefined),
    ...withPassword(found.databaseUrl, url?.password),
    ...withPassword(found.migrationDatabaseUrl, migrationUrl?.password),
    ...withPassword(found.databaseAdminUrl, adminUrl?.password),
    ...Object.values(found.server).filter(isOwn),
  ];
  const memory = new SecretMemory(join(sources.projectDirectory, ".togather", "secrets"));
  for (const problem of placeholderProblems(
    own,
    Object.values(found.server).filter((secret) => !isOwn(secret)),
  ))
    broken(rules.strongSecrets, problem);
  for (const problem of weakSecrets(own, memory)) broken(rules.strongSecrets, problem);
  const untrimmed = untrimmedSecrets(found);
  problems.push(...untrimmed.refused);
  for (const problem of untrimmed.suspect) broken("warn", problem);
  for (const problem of reusedSecrets(own, memory, stack.environment)) broken(rules.uniqueSecrets, problem);

  if (deployment.value !== undefined)
    problems.push(...encryptionProblems(deployment.value, rules, found.snapshotIdentity));

  const slots: Settings["slots"] = {};
  for (const slot of ["blue", "green"] as const) {
    const setting = stack.slots[slot];
    if (setting === undefined) continue;
    slots[slot] = toRelease(setting);
    if (slots[slot].commit.startsWith("tree-")) {
      broken(rules.committedSource, {
        where: `togather:slots.${slot}`,
        what: `${stack.environment} releases git commits; this one was made from files without history`,
        fix: "commit the source and name the commit",
      });
    }
  }
  if (!rules.blueGreen) problems.push(...developmentProblems(stack, sources.projectDirectory));
  else if (slots[stack.activeSlot] === undefined) {
    problems.push({
      where: "togather:activeSlot",
      what: `${stack.activeSlot} is to serve, but togather:slots.${stack.activeSlot} holds no release`,
      fix: `pulumi config set --path togather:slots.${stack.activeSlot}.commit "$(git rev-parse HEAD)" and the same for .version`,
    });
  }

  const { value: tls, problems: tlsProblems } = readTls(
    stack,
    { environment: sources.environment, file: file.file },
    sources.projectDirectory,
  );
  problems.push(...tlsProblems);
  if (tls === undefined) {
    broken(rules.https, {
      where: "togather:tls",
      what: `${stack.environment} serves HTTPS, but no certificate is set`,
      fix: `pulumi config set --path togather:tls.certificateFile /path/fullchain.pem and the same for .keyFile; or the PEM texts as ${tlsNames.certificate} and ${tlsNames.key} in the environment or ${secretsFile}`,
    });
  } else if (tlsProblems.length === 0) {
    const found = certificateProblems(tls);
    for (const { severity, what, fix } of found)
      broken(severity === "broken" ? "error" : "warn", { where: "togather:tls", what, fix });
    // Not refused: another proxy may stand before the router, with a certificate of its own.
    if (found.length === 0 && /^https:/i.test(stack.publicUrl) && !isCertificateOf(tls.certificate, stack.publicUrl)) {
      broken("warn", {
        where: "togather:tls",
        what: `the certificate is that of ${describeCertificate(tls.certificate)}, and togather:publicUrl is ${stack.publicUrl}: browsers refuse one of another name`,
      });
    }
  }

  const closed = stack.router.closedPaths.find(
    (path) => stack.source.healthPath === path || stack.source.healthPath.startsWith(`${path}/`),
  );
  if (closed !== undefined) {
    problems.push({
      where: "togather:router.closedPaths",
      what: `${closed} is closed, and the health endpoint ${stack.source.healthPath} with it, which is asked through the router after each switch`,
      fix: `leave out ${closed}, or set togather:source.healthPath to another path`,
    });
  }

  if (/^http:/i.test(stack.publicUrl)) {
    broken(rules.https, {
      where: "togather:publicUrl",
      what: `${stack.publicUrl} is plain HTTP, and ${stack.environment} serves HTTPS`,
      fix: `pulumi config set togather:publicUrl ${stack.publicUrl.replace(/^http:/i, "https:")}`,
    });
  }

  const ports = new Map<number, string>();
  for (const [key, port] of [
    ["ports.http", stack.ports.http],
    ...(rules.blueGreen
      ? ([
          ["ports.https", stack.ports.https],
          ["slotPorts.blue", stack.slotPorts.blue],
          ["slotPorts.green", stack.slotPorts.green],
        ] as const)
      : []),
    ...(stack.database.mode === "bundled" ? ([["databasePort", stack.databasePort]] as const) : []),
  ] as const) {
    const other = ports.get(port);
    if (other !== undefined)
      problems.push({ where: `togather:${key}`, what: `port ${port} is already togather:${other}` });
    ports.set(port, key);
  }

  if (problems.length > 0 || deployment.value === undefined) throw new SettingsError(problems);
  try {
    memory.remember(
      own.map(({ value }) => value),
      stack.environment,
    );
  } catch (error) {
    warnings.push(
      `.togather/secrets: ${error instanceof Error ? error.message : String(error)}; that a secret is in use elsewhere can't be told`,
    );
  }
  const name = stack.name ?? stack.environment;
  const subnet = stack.subnet === "" ? subnetOf(name) : stack.subnet;
  return {
    ...stack,
    name,
    listenAddress: stack.listenAddress === "" ? rules.listenAddress : stack.listenAddress,
    rules,
    slots,
    ...networkIn(subnet),
    tls,
    deployment: deployment.value,
    database: {
      ...stack.database,
      ...(stack.database.mode === "bundled"
        ? { mode: "bundled", password: found.databasePassword?.value ?? "" }
        : {
            mode: "external",
            url: url?.url ?? "",
            migrationUrl: migrationUrl?.url ?? url?.url ?? "",
            adminUrl: adminUrl?.url,
          }),
    },
    snapshotIdentity: found.snapshotIdentity?.value,
    snapshotCopyCredentials: found.snapshotCopyKeyId &&
      found.snapshotCopySecret && { keyId: found.snapshotCopyKeyId.value, secret: found.snapshotCopySecret.value },
    secrets: {
      jwtSecret: found.jwtSecret?.value,
      adminApiKey: found.adminApiKey?.value,
      server: Object.fromEntries(Object.entries(found.server).map(([name, { value }]) => [name, value])),
    },
    warnings,
  };
}
