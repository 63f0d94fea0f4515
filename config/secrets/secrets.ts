import { existsSync, readFileSync, statSync } from "node:fs";
import { parse } from "dotenv";
import { cutValues, unclosedValues } from "./dotenv.ts";
import type { EnvironmentName } from "../schema/environments.ts";
import type { Problem } from "../problems.ts";
import type { SecretMemory } from "./secret-memory.ts";
import { isPlaceholder, isPlaceholderText } from "./secret-strength.ts";
import type { StackSettings } from "../schema/stack-settings.ts";

/** A secret's name in the environment and secrets file, and its key in the stack's config. */
export const secretNames = {
  jwtSecret: "JWT_SECRET",
  adminApiKey: "ADMIN_API_KEY",
  databasePassword: "DATABASE_PASSWORD",
  databaseUrl: "DATABASE_URL",
  migrationDatabaseUrl: "MIGRATION_DATABASE_URL",
  databaseAdminUrl: "DATABASE_ADMIN_URL",
  snapshotIdentity: "SNAPSHOT_IDENTITY",
  snapshotCopyKeyId: "SNAPSHOT_COPY_KEY_ID",
  snapshotCopySecret: "SNAPSHOT_COPY_SECRET",
} as const;
type SecretKey = keyof typeof secretNames;

/** The secrets that a deployment with the bundled database needs; anybody may make them up. */
export const bundledSecrets = ["jwtSecret", "adminApiKey", "databasePassword"] as const satisfies SecretKey[];

/** How to make a secret, and what it has to be: the server's own rules for its two, the reference's advice for the database's. */
const requirements: Record<SecretKey, { characters: number; bits: number; example: string }> = {
  jwtSecret: { characters: 32, bits: 80, example: "$(openssl rand -base64 32)" },
  adminApiKey: { characters: 32, bits: 80, example: "$(openssl rand -hex 32)" },
  databasePassword: { characters: 16, bits: 46, example: "$(openssl rand -hex 24)" },
  databaseUrl: { characters: 16, bits: 46, example: "postgresql://user:password@host:5432/database?sslmode=require" },
  migrationDatabaseUrl: {
    characters: 16,
    bits: 46,
    example: "postgresql://owner:password@host:5432/database?sslmode=require",
  },
  databaseAdminUrl: {
    characters: 16,
    bits: 46,
    example: "postgresql://admin:password@host:5432/postgres?sslmode=require",
  },
  snapshotIdentity: { characters: 74, bits: 80, example: "$(age-keygen | tail -n 1)" },
  snapshotCopyKeyId: { characters: 1, bits: 0, example: "the access key id that the storage gave you" },
  snapshotCopySecret: { characters: 1, bits: 0, example: "the secret access key that the storage gave you" },
};

/** A secret, where it was found, and what to do when it is no good. */
export interface FoundSecret {
  name: string;
  /** As people know the place. */
  from: string;
  value: string;
  fix: string;
}

/** One that this deployment's owner chose, and that has to be good. */
export interface OwnSecret extends FoundSecret {
  /** The least that it has. */
  characters: number;
  bits: number;
}

/** Whether it is one of which a length is asked, the deployment's or the server's. */
export const isOwn = (secret: FoundSecret | OwnSecret): secret is OwnSecret => "characters" in secret;

export interface ResolvedSecrets extends Record<SecretKey, OwnSecret | undefined> {
  /** The server's own, by variable. Those of which a length is asked have to be as good as ours. */
  server: Record<string, FoundSecret | OwnSecret>;
}

/** Where secrets may come from, in the order in which they win. */
export interface SecretSources {
  environment: NodeJS.ProcessEnv;
  /** Path of the secrets file as the operator knows it, and whether it is there to be read. */
  file: { path: string; values: Record<string, string> } | undefined;
  /** From `pulumi config set --secret`. */
  config: Pick<StackSettings, SecretKey | "secrets">;
}

/** The secrets file's path, as the operator knows it. */
export const secretsFileOf = ({
  secretsFile,
  environment,
}: Pick<StackSettings, "secretsFile" | "environment">): string =>
  secretsFile === "" ? `.env.${environment}` : secretsFile;

/**
 * Reads a secrets file in dotenv syntax. A missing file is no problem (undefined); one that others can read is.
 * @param shownAs its path in messages.
 */
export function readSecretsFile(path: string, shownAs: string): { file: SecretSources["file"]; problems: Problem[] } {
  if (!existsSync(path)) return { file: undefined, problems: [] };
  const mode = statSync(path).mode & 0o777;
  const problems: Problem[] =
    process.platform !== "win32" && (mode & 0o077) !== 0
      ? [
          {
            where: shownAs,
            what: `holds secrets and is readable by others (mode ${mode.toString(8)}, expected 600)`,
            fix: `chmod 600 ${shownAs}`,
          },
        ]
      : [];
  const text = readFileSync(path, "utf8");
  for (const name of cutValues(text)) {
    problems.push({
      where: `${shownAs}: ${name}`,
      what: "has a # outside of quotes, where the value would end",
      fix: `put the value in single quotes: ${name}='…'`,
    });
  }
  for (const name of unclosedValues(text)) {
    problems.push({
      where: `${shownAs}: ${name}`,
      what: "begins with a quote that is never closed, which would be part of the value",
      fix: `close it: ${name}='…'`,
    });
  }
  return { file: { path: shownAs, values: parse(text) }, problems };
}

/** The first place that has a secret. @param config its key in the stack's config and what stands there; none where it can't. */
export function findSecret(
  { environment, file }: Pick<SecretSources, "environment" | "file">,
  name: string,
  config?: { key: string; value: string | undefined },
): Pick<FoundSecret, "from" | "value"> | undefined {
  const candidates = [
    { from: `environment variable ${name}`, value: environment[name] ?? "" },
    { from: `${file?.path ?? ""}: ${name}`, value: file?.values[name] ?? "" },
    { from: `togather:${config?.key ?? ""}`, value: config?.value ?? "" },
  ];
  return candidates.find(({ value }) => value !== "");
}

const missing = (name: string): string =>
  `is missing; expected in the environment (${name}), the secrets file or the stack's config`;

/**
 * Takes each secret from the first source that has it. Problems name the secret, never its value.
 * @param wanted what kind of database the deployment has, the server's own secrets by variable, how long some of them have to be, and which of
 * every server's this one doesn't read.
 */
export function resolveSecrets(
  sources: SecretSources,
  wanted: {
    database: "bundled" | "external";
    snapshotCopy: boolean;
    server: readonly string[];
    lengths: Readonly<Record<string, number>>;
    unread: readonly string[];
  },
): { value: ResolvedSecrets; problems: Problem[] } {
  const problems: Problem[] = [];
  const resolve = (key: SecretKey, required: boolean): OwnSecret | undefined => {
    const name = secretNames[key];
    const { example, ...least } = requirements[key];
    const set = `pulumi config set --secret togather:${key} "${example}"`;
    const found = findSecret(sources, name, { key, value: sources.config[key] });
    if (found !== undefined)
      return {
        name,
        ...found,
        ...least,
        fix: found.from.startsWith("togather:") ? set : `put a new one there, such as ${example}`,
      };
    if (required) problems.push({ where: `togather:${key}`, what: missing(name), fix: set });
    return undefined;
  };
  const read = (key: "jwtSecret" | "adminApiKey"): OwnSecret | undefined =>
    wanted.unread.includes(secretNames[key]) ? undefined : resolve(key, true);
  const external = wanted.database === "external";
  const value: ResolvedSecrets = {
    jwtSecret: read("jwtSecret"),
    adminApiKey: read("adminApiKey"),
    databasePassword: external ? undefined : resolve("databasePassword", true),
    databaseUrl: external ? resolve("databaseUrl", true) : undefined,
    migrationDatabaseUrl: external ? resolve("migrationDatabaseUrl", false) : undefined,
    databaseAdminUrl: external ? resolve("databaseAdminUrl", false) : undefined,
    snapshotIdentity: resolve("snapshotIdentity", false),
    snapshotCopyKeyId: resolve("snapshotCopyKeyId", wanted.snapshotCopy),
    snapshotCopySecret: resolve("snapshotCopySecret", wanted.snapshotCopy),
    server: {},
  };
  for (const name of wanted.server) {
    const key = `secrets.${name}`;
    const found = findSecret(sources, name, { key, value: sources.config.secrets[name] });
    const characters = wanted.lengths[name];
    const fix = `pulumi config set --secret --path togather:${key}${characters === undefined ? "" : ` "$(openssl rand -hex ${Math.max(16, Math.ceil(characters / 2))})"`}`;
    if (found === undefined) problems.push({ where: `togather:${key}`, what: missing(name), fix });
    else if (characters === undefined) value.server[name] = { name, ...found, fix };
    // Of a long one nobody may guess it either; a short one is what the server takes.
    else value.server[name] = { name, ...found, fix, characters, bits: characters < 32 ? 0 : 80 };
  }
  for (const secret of [value.jwtSecret, ...Object.values(value.server)]) {
    // Whatever the environment: the server does not start with it.
    if (secret === undefined || !isOwn(secret) || Buffer.byteLength(secret.value) >= secret.characters) continue;
    problems.push({
      where: secret.from,
      what: `has ${secret.value.length} characters, and the server takes none below ${secret.characters}`,
      fix: secret.fix,
    });
  }
  return { value, problems };
}

/**
 * Whether a secret stands where a template has its hint.
 * @param own made at random, as `requirements` has it.
 * @param server the server's own: passwords, but also addresses and URLs.
 */
export function placeholderProblems(own: readonly FoundSecret[], server: readonly FoundSecret[]): Problem[] {
  const found = [
    ...own.filter(({ value }) => isPlaceholder(value)),
    ...server.filter(({ value }) => isPlaceholderText(value)),
  ];
  return found.map(({ from, fix }) => ({ where: from, what: "is a placeholder, expected a secret of your own", fix }));
}

/** Secrets with a line break or blanks around them, which whoever typed them did not mean: `refused` never work so, the others may. */
export function untrimmedSecrets({
  jwtSecret,
  adminApiKey,
  databasePassword,
  snapshotCopyKeyId,
  snapshotCopySecret,
  server,
}: ResolvedSecrets): Record<"refused" | "suspect", Problem[]> {
  const problemsOf = (secrets: readonly (FoundSecret | undefined)[]): Problem[] =>
    secrets.flatMap((secret) => {
      if (secret === undefined || secret.value === secret.value.trim()) return [];
      const what = `${/\n\s*$/.test(secret.value) ? "ends with a line break" : "has blanks around it"}, which would be part of the secret`;
      return [
        {
          where: secret.from,
          what,
          fix: `in a shell ${secret.name}="$(cat FILE)" leaves out the line break at the end`,
        },
      ];
    });
  return {
    refused: problemsOf([adminApiKey, databasePassword, snapshotCopyKeyId, snapshotCopySecret]),
    // The text of a key file has lines, and ends with one.
    suspect: problemsOf([jwtSecret, ...Object.values(server).filter(({ value }) => !value.trim().includes("\n"))]),
  };
}

/** Secrets that somebody could guess. */
export function weakSecrets(found: readonly OwnSecret[], memory: SecretMemory): Problem[] {
  return found.flatMap(({ from, value, characters, bits, fix }): Problem[] => {
    if (isPlaceholder(value)) return [];
    const { length } = value;
    if (length < characters)
      return [{ where: from, what: `has ${length} characters, expected at least ${characters}`, fix }];
    const strength = memory.bits(value, bits);
    if (strength < bits)
      return [{ where: from, what: `is easy to guess: about ${strength} bits, expected at least ${bits}`, fix }];
    return [];
  });
}

/** Secrets that are in use elsewhere: in another environment, or under another name in this one. */
export function reusedSecrets(
  found: readonly OwnSecret[],
  memory: SecretMemory,
  environment: EnvironmentName,
): Problem[] {
  return found.flatMap(({ from, value, fix }, index): Problem[] => {
    const twin = found.slice(0, index).find((other) => other.value === value);
    const others = memory.environmentsOf(value).filter((other) => other !== environment);
    return [
      ...(twin === undefined
        ? []
        : [{ where: from, what: `is the same as ${twin.name}, expected a secret of its own`, fix }]),
      ...(others.length === 0
        ? []
        : [
            {
              where: from,
              what: `is in use in ${others.join(" and ")} too, expected a secret of its own for ${environment}`,
              fix,
            },
          ]),
    ];
  });
}
