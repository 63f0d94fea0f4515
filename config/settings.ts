import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { slotNames, type SlotName } from "../ops/contract/steps.ts";
import { checks } from "./checks/all.ts";
import type { Given } from "./checks/check.ts";
import { checkDatabaseUrl, type UrlCheck } from "./database-access.ts";
import { networkOf, type Addresses, type PrivateNetwork } from "./network.ts";
import { keysAt, problemsOf, SettingsError, type Problem } from "./problems.ts";
import { parseDeploymentFile, type DeploymentFile } from "./schema/deployment-file.ts";
import { environmentRules, type EnvironmentName, type EnvironmentRules } from "./schema/environments.ts";
import { stackSettingsSchema, type StackSettings } from "./schema/stack-settings.ts";
import { releaseOfSetting, type SlotRelease } from "./release.ts";
import { SecretMemory } from "./secrets/secret-memory.ts";
import { Secret } from "./secrets/secret.ts";
import {
  isOwn,
  readSecretsFile,
  resolveSecrets,
  secretsFileOf,
  type OwnSecret,
  type ResolvedSecrets,
} from "./secrets/secrets.ts";
import { secretKeys, secretRow, type SecretKey } from "./secrets/table.ts";
import { readTls } from "./tls.ts";

/** The values of a deployment's secrets. */
export interface Secrets {
  /** Undefined: the server doesn't read it. */
  jwtSecret: Secret | undefined;
  adminApiKey: Secret | undefined;
  /** The server's own, by variable. */
  server: Record<string, Secret>;
}

/** The database and its connections. */
export type DatabaseSettings = Omit<StackSettings["database"], "mode"> &
  (
    | { mode: "bundled"; password: Secret }
    /**
     * `url` has the server's role, `migrationUrl` the role of the schema's owner (which may be the same), `adminUrl`
     * one that may create databases.
     */
    | { mode: "external"; url: Secret; migrationUrl: Secret; adminUrl: Secret | undefined }
  );

/** All settings of the stack, validated and with defaults. */
export interface Settings extends Omit<
  StackSettings,
  "name" | "slots" | "tls" | "deployment" | "subnet" | "database" | "secrets" | SecretKey
> {
  name: string;
  environment: EnvironmentName;
  rules: EnvironmentRules;
  slots: Partial<Record<SlotName, SlotRelease>>;
  network: PrivateNetwork;
  addresses: Addresses;
  tls: { certificate: string; key: Secret } | undefined;
  deployment: DeploymentFile;
  database: DatabaseSettings;
  /** The key that reads encrypted snapshots. */
  snapshotIdentity: Secret | undefined;
  /** Of the storage to which snapshots are copied. Undefined: they are not copied. */
  snapshotCopyCredentials: { keyId: Secret; secret: Secret } | undefined;
  secrets: Secrets;
  /** Broken rules that this environment only warns of. */
  warnings: string[];
}

/** Sources of the settings. */
export interface SettingsSources {
  /** The stack's config under `togather:`, without the prefix. Structured values are JSON texts, as Pulumi gives them. */
  config: Readonly<Record<string, string>>;
  /** Keys that Pulumi keeps encrypted. Undefined: unknown (unit tests). */
  encryptedKeys?: ReadonlySet<string> | undefined;
  environment: NodeJS.ProcessEnv;
  /** Directory of the Pulumi project. */
  projectDirectory: string;
}

/** Pulumi passes every config value as text: numbers, booleans, objects and lists are recognized as JSON. */
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

/** The config by itself, without the files that it names. */
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

/** Secrets in plain text in the stack's config. */
function plainTextSecrets({ config, encryptedKeys }: SettingsSources): Problem[] {
  if (encryptedKeys === undefined) return [];
  return [...secretKeys, "secrets"]
    .filter((key) => (config[key] ?? "") !== "" && !encryptedKeys.has(key))
    .map((key) => ({
      where: `togather:${key}`,
      what: "is a secret in plain text",
      fix: `pulumi config set --secret togather:${key}, and make a new one`,
    }));
}

/** The files, secrets and certificates that the settings name, with the problems of reading them. */
function resolveSettings(
  stack: StackSettings,
  deployment: DeploymentFile | undefined,
  { environment, projectDirectory }: SettingsSources,
): { given: Given; urls: Record<"app" | "migration" | "admin", UrlCheck | undefined>; problems: Problem[] } {
  const rules = environmentRules[stack.environment];
  const secretsFile = secretsFileOf(stack);
  const { file, problems: ofFile } = readSecretsFile(resolve(projectDirectory, secretsFile), secretsFile);
  const { value: secrets, problems: ofSecrets } = resolveSecrets(
    { environment, file, config: stack },
    {
      database: stack.database.mode,
      snapshotCopy: rules.blueGreen && (deployment?.database.snapshot_copy ?? null) !== null,
      server: stack.source.secrets,
      lengths: stack.source.secretLengths,
      unread: stack.source.unreadSecrets,
    },
  );
  const urls = {
    app: secrets.databaseUrl && checkDatabaseUrl(secrets.databaseUrl),
    migration: secrets.migrationDatabaseUrl && checkDatabaseUrl(secrets.migrationDatabaseUrl),
    admin: secrets.databaseAdminUrl && checkDatabaseUrl(secrets.databaseAdminUrl),
  };
  const { value: tls, problems: ofTls } = readTls(stack, { environment, file }, projectDirectory);
  const slots: Settings["slots"] = {};
  for (const slot of slotNames) {
    const setting = stack.slots[slot];
    if (setting !== undefined) slots[slot] = releaseOfSetting(setting);
  }
  const given: Given = {
    stack,
    rules,
    deployment,
    secrets,
    own: ownSecrets(secrets, urls),
    memory: new SecretMemory(join(projectDirectory, ".togather", "secrets")),
    urls: Object.values(urls).filter((url) => url !== undefined),
    slots,
    tls,
    tlsIsRead: ofTls.length === 0,
    secretsFile,
    projectDirectory,
  };
  return { given, urls, problems: [...ofFile, ...ofSecrets, ...ofTls] };
}

/** The secrets that this deployment's owner chose; of a URL, only its password could be guessed. */
function ownSecrets(
  secrets: ResolvedSecrets,
  { app, migration, admin }: Record<"app" | "migration" | "admin", UrlCheck | undefined>,
): OwnSecret[] {
  const checked = { databaseUrl: app, migrationDatabaseUrl: migration, databaseAdminUrl: admin };
  /** Roles already seen: two URLs may name one role, which has one password. */
  const logins = new Set<string>();
  const chosen = secretKeys.flatMap((key): OwnSecret[] => {
    const secret = secrets[key];
    const { strength } = secretRow(key);
    if (secret === undefined || strength === "given") return [];
    if (strength === "value") return [secret];
    const { url = "", password } = checked[key as keyof typeof checked] ?? {};
    const login = url.split("/").slice(0, 3).join("/");
    if (password === undefined || logins.has(login)) return [];
    logins.add(login);
    return [{ ...secret, value: password }];
  });
  return [...chosen, ...Object.values(secrets.server).filter(isOwn)];
}

/**
 * Reads and checks all settings of a stack before anything else happens.
 * @throws {SettingsError} with every problem at once.
 */
export function loadSettings(sources: SettingsSources): Settings {
  const { value: stack, problems: ofConfig } = parseConfig(sources);
  const { value: deployment, problems: ofDeployment } = readDeploymentFile(sources);
  const before = [...ofConfig, ...plainTextSecrets(sources), ...ofDeployment];
  if (stack === undefined) throw new SettingsError(before);
  const { given, urls, problems: ofReading } = resolveSettings(stack, deployment, sources);
  const findings = checks.flatMap((check) => check(given));
  const problems = [...before, ...ofReading, ...findings.filter(({ severity }) => severity === "error")];
  if (problems.length > 0 || deployment === undefined) throw new SettingsError(problems);
  const warnings = findings.filter(({ severity }) => severity === "warn").map(({ where, what }) => `${where}: ${what}`);
  return buildSettings(given, deployment, urls, [...warnings, ...remember(given)]);
}

/** Records the secrets of this environment. A failure is only a warning. */
function remember({ memory, own, stack }: Given): string[] {
  try {
    memory.remember(
      own.map(({ value }) => value),
      stack.environment,
    );
    return [];
  } catch (error) {
    return [
      `.togather/secrets: ${error instanceof Error ? error.message : String(error)}; that a secret is in use elsewhere can't be told`,
    ];
  }
}

const wrapped = (value: string | undefined): Secret | undefined =>
  value === undefined ? undefined : new Secret(value);

/** Valid settings, with wrapped secrets. */
function buildSettings(
  { stack, rules, slots, secrets, tls }: Given,
  deployment: DeploymentFile,
  urls: Record<"app" | "migration" | "admin", UrlCheck | undefined>,
  warnings: string[],
): Settings {
  const name = stack.name ?? stack.environment;
  const { snapshotCopyKeyId: keyId, snapshotCopySecret: secret } = secrets;
  const url = urls.app?.url ?? "";
  return {
    ...stack,
    name,
    listenAddress: stack.listenAddress === "" ? rules.listenAddress : stack.listenAddress,
    rules,
    slots,
    ...networkOf(stack.subnet, name),
    tls: tls && { certificate: tls.certificate, key: new Secret(tls.key) },
    deployment,
    database: {
      ...stack.database,
      ...(stack.database.mode === "bundled"
        ? { mode: "bundled", password: new Secret(secrets.databasePassword?.value ?? "") }
        : {
            mode: "external",
            url: new Secret(url),
            migrationUrl: new Secret(urls.migration?.url ?? url),
            adminUrl: wrapped(urls.admin?.url),
          }),
    },
    snapshotIdentity: wrapped(secrets.snapshotIdentity?.value),
    snapshotCopyCredentials: keyId && secret && { keyId: new Secret(keyId.value), secret: new Secret(secret.value) },
    secrets: {
      jwtSecret: wrapped(secrets.jwtSecret?.value),
      adminApiKey: wrapped(secrets.adminApiKey?.value),
      server: Object.fromEntries(Object.entries(secrets.server).map(([name, { value }]) => [name, new Secret(value)])),
    },
    warnings,
  };
}
