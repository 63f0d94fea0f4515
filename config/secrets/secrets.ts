import { existsSync, readFileSync, statSync } from "node:fs";
import { parse } from "dotenv";
import { cutValues, unclosedValues } from "./dotenv.ts";
import type { Problem } from "../problems.ts";
import type { StackSettings } from "../schema/stack-settings.ts";
import { secretKeys, secretRow, type SecretKey, type Wanted } from "./table.ts";

/** A secret, its source, and the fix for a bad one. */
export interface FoundSecret {
  name: string;
  /** The source, in people's words. */
  from: string;
  value: string;
  fix: string;
}

/** A secret that this deployment's owner chose, and that has to be good. */
export interface OwnSecret extends FoundSecret {
  /** Minimum length. */
  characters: number;
  bits: number;
}

/** Whether a length is required of it, by the deployment or the server. */
export const isOwn = (secret: FoundSecret | OwnSecret): secret is OwnSecret => "characters" in secret;

export interface ResolvedSecrets extends Record<SecretKey, OwnSecret | undefined> {
  /** The server's own, by variable. Those with a required length have to be as good as ours. */
  server: Record<string, FoundSecret | OwnSecret>;
}

/** Sources of secrets; the first that has one wins. */
export interface SecretSources {
  environment: NodeJS.ProcessEnv;
  /** Path of the secrets file as the operator knows it, and its values where it can be read. */
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
  // UTF-16, as PowerShell's > writes it: no name in it would be found.
  if (/^(\uFFFD|.{0,200}\0)/su.test(text)) {
    problems.push({
      where: shownAs,
      what: "is no UTF-8 text, but UTF-16 or something else",
      fix: `save ${shownAs} as UTF-8`,
    });
    return { file: undefined, problems };
  }
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
  const values = parse(text);
  for (const [name, value] of Object.entries(values)) {
    if (!value.includes("\uFFFD")) continue;
    problems.push({
      where: `${shownAs}: ${name}`,
      what: "has bytes that are no UTF-8 text: part of the value would be lost",
      fix: `save ${shownAs} as UTF-8`,
    });
  }
  return { file: { path: shownAs, values }, problems };
}

/**
 * The first source that has a secret.
 * @param config its key in the stack's config, and its value there; undefined where the config can't have it.
 */
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

/** The secrets that a deployment needs, the server's own among them. */
export interface WantedSecrets extends Wanted {
  /** The server's own secrets, by variable. */
  server: readonly string[];
  /** Minimum number of characters of some of them. */
  lengths: Readonly<Record<string, number>>;
}

/** Takes each secret from the first source that has it. Problems name the secret, never its value. */
export function resolveSecrets(
  sources: SecretSources,
  wanted: WantedSecrets,
): { value: ResolvedSecrets; problems: Problem[] } {
  const problems: Problem[] = [];
  const resolve = (key: SecretKey): OwnSecret | undefined => {
    const { variable, example, characters, bits, needed } = secretRow(key);
    const need = needed(wanted);
    if (need === "unused") return undefined;
    const set = `pulumi config set --secret togather:${key} "${example}"`;
    const found = findSecret(sources, variable, { key, value: sources.config[key] });
    if (found !== undefined)
      return {
        name: variable,
        ...found,
        characters,
        bits,
        fix: found.from.startsWith("togather:") ? set : `put a new one there, such as ${example}`,
      };
    if (need === "required") problems.push({ where: `togather:${key}`, what: missing(variable), fix: set });
    return undefined;
  };
  const own = Object.fromEntries(secretKeys.map((key) => [key, resolve(key)])) as Record<
    SecretKey,
    OwnSecret | undefined
  >;
  const server: ResolvedSecrets["server"] = {};
  for (const name of wanted.server) {
    const key = `secrets.${name}`;
    const found = findSecret(sources, name, { key, value: sources.config.secrets[name] });
    const characters = wanted.lengths[name];
    const fix = `pulumi config set --secret --path togather:${key}${characters === undefined ? "" : ` "$(openssl rand -hex ${Math.max(16, Math.ceil(characters / 2))})"`}`;
    if (found === undefined) problems.push({ where: `togather:${key}`, what: missing(name), fix });
    else if (characters === undefined) server[name] = { name, ...found, fix };
    // A long secret must not be guessable either; a short one only has to be accepted by the server.
    else server[name] = { name, ...found, fix, characters, bits: characters < 32 ? 0 : 80 };
  }
  return { value: { ...own, server }, problems };
}
