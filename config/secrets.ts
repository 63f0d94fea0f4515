import { existsSync, readFileSync, statSync } from "node:fs";
import { parse } from "dotenv";
import { cutValues } from "./dotenv.ts";
import type { EnvironmentName } from "./environments.ts";
import type { Problem } from "./problems.ts";
import type { SecretMemory } from "./secret-memory.ts";
import { isPlaceholder } from "./secret-strength.ts";

/** A secret's name in the environment and secrets file, and its key in the stack's config. */
export const secretNames = {
  jwtSecret: "JWT_SECRET",
  adminApiKey: "ADMIN_API_KEY",
  databasePassword: "DATABASE_PASSWORD",
} as const;

/** How to make a secret, and what it has to be: the server's own rules for its two, the reference's advice for the database's. */
const requirements = {
  jwtSecret: { characters: 32, bits: 80, make: "openssl rand -base64 32" },
  adminApiKey: { characters: 32, bits: 80, make: "openssl rand -hex 32" },
  databasePassword: { characters: 16, bits: 46, make: "openssl rand -hex 24" },
} as const;

export interface Secrets {
  jwtSecret: string;
  adminApiKey: string;
  databasePassword: string;
}

/** Where secrets may come from, in the order in which they win. */
export interface SecretSources {
  environment: NodeJS.ProcessEnv;
  /** Path of the secrets file as the operator knows it, and whether it is there to be read. */
  file: { path: string; values: Record<string, string> } | undefined;
  /** From `pulumi config set --secret`. */
  config: Record<keyof Secrets, string>;
}

/**
 * Reads a secrets file in dotenv syntax. A missing file is no problem (undefined); one that others can read is.
 * @param shownAs its path in messages.
 */
export function readSecretsFile(path: string, shownAs: string): { file: SecretSources["file"]; problems: Problem[] } {
  if (!existsSync(path)) return { file: undefined, problems: [] };
  const mode = statSync(path).mode & 0o777;
  const problems: Problem[] =
    process.platform !== "win32" && (mode & 0o077) !== 0
      ? [{ where: shownAs, what: `holds secrets and is readable by others (mode ${mode.toString(8)}, expected 600)`, fix: `chmod 600 ${shownAs}` }]
      : [];
  const text = readFileSync(path, "utf8");
  for (const name of cutValues(text)) {
    problems.push({ where: `${shownAs}: ${name}`, what: "has a # outside of quotes, where the value would end", fix: `put the value in single quotes: ${name}='…'` });
  }
  return { file: { path: shownAs, values: parse(text) }, problems };
}

/** A secret, where it was found, and what to do when it is no good. */
export interface FoundSecret {
  name: string;
  /** As people know the place. */
  from: string;
  value: string;
  /** What it has at least. */
  characters: number;
  bits: number;
  fix: string;
}

/** Takes each secret from the first source that has it. Problems name the secret, never its value. */
export function resolveSecrets(sources: SecretSources): { value: Secrets; found: FoundSecret[]; problems: Problem[] } {
  const problems: Problem[] = [];
  const found: FoundSecret[] = [];
  const resolve = (key: keyof Secrets): string => {
    const name = secretNames[key];
    const { make, ...required } = requirements[key];
    const candidates = [
      { from: `environment variable ${name}`, value: sources.environment[name] },
      { from: `${sources.file?.path ?? ""}: ${name}`, value: sources.file?.values[name] },
      { from: `togather:${key}`, value: sources.config[key] },
    ];
    const first = candidates.find(({ value }) => value !== undefined && value !== "");
    const fix = `pulumi config set --secret togather:${key} "$(${make})"`;
    if (first?.value === undefined) {
      problems.push({ where: `togather:${key}`, what: `is missing; expected in the environment (${name}), the secrets file or the stack's config`, fix });
      return "";
    }
    const foundSecret = { name, from: first.from, value: first.value, ...required, fix: first.from.startsWith("togather:") ? fix : `put a new one there: ${make}` };
    found.push(foundSecret);
    if (key === "jwtSecret" && Buffer.byteLength(first.value) < required.characters) {
      // Whatever the environment: the server does not start with it.
      problems.push({ where: first.from, what: `has ${first.value.length} characters, and the server takes none below ${required.characters}`, fix: foundSecret.fix });
    }
    return first.value;
  };
  const value = { jwtSecret: resolve("jwtSecret"), adminApiKey: resolve("adminApiKey"), databasePassword: resolve("databasePassword") };
  return { value, found, problems };
}

/** Secrets that somebody could guess. */
export function weakSecrets(found: readonly FoundSecret[], memory: SecretMemory): Problem[] {
  return found.flatMap(({ from, value, characters, bits, fix }): Problem[] => {
    if (isPlaceholder(value)) return [{ where: from, what: "is a placeholder, expected a secret of your own", fix }];
    const { length } = value;
    if (length < characters) return [{ where: from, what: `has ${length} characters, expected at least ${characters}`, fix }];
    const strength = memory.bits(value, bits);
    if (strength < bits) return [{ where: from, what: `is easy to guess: about ${strength} bits, expected at least ${bits}`, fix }];
    return [];
  });
}

/** Secrets that are in use elsewhere: in another environment, or under another name in this one. */
export function reusedSecrets(found: readonly FoundSecret[], memory: SecretMemory, environment: EnvironmentName): Problem[] {
  return found.flatMap(({ from, value, fix }, index): Problem[] => {
    const twin = found.slice(0, index).find((other) => other.value === value);
    const others = memory.environmentsOf(value).filter((other) => other !== environment);
    return [
      ...(twin === undefined ? [] : [{ where: from, what: `is the same as ${twin.name}, expected a secret of its own`, fix }]),
      ...(others.length === 0 ? [] : [{ where: from, what: `is in use in ${others.join(" and ")} too, expected a secret of its own for ${environment}`, fix }]),
    ];
  });
}
