import { existsSync, readFileSync, statSync } from "node:fs";
import { parse } from "dotenv";
import type { Problem } from "./problems.ts";

/** A secret's name in the environment and secrets file, and its key in the stack's config. */
export const secretNames = {
  jwtSecret: "JWT_SECRET",
  adminApiKey: "ADMIN_API_KEY",
  databasePassword: "DATABASE_PASSWORD",
} as const;

/** Characters that a secret has at least: the server's rule for JWT_SECRET, the reference's advice for the others. */
const minimumLength = { jwtSecret: 32, adminApiKey: 32, databasePassword: 16 } as const;

const generate = { jwtSecret: "openssl rand -base64 32", adminApiKey: "openssl rand -hex 32", databasePassword: "openssl rand -hex 24" } as const;

/** Values that come from a template and were never replaced. */
const placeholder = /change[-_ ]?me|replace[-_ ]?(me|this)|your[-_ ]|example|placeholder|todo|xxxx|<.*>/i;

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
  return { file: { path: shownAs, values: parse(readFileSync(path)) }, problems };
}

/** Takes each secret from the first source that has it, and checks it. Problems name the secret, never its value. */
export function resolveSecrets(sources: SecretSources): { value: Secrets; problems: Problem[] } {
  const problems: Problem[] = [];
  const resolve = (key: keyof Secrets): string => {
    const name = secretNames[key];
    const candidates = [
      { from: `environment variable ${name}`, value: sources.environment[name] },
      { from: `${sources.file?.path ?? ""}: ${name}`, value: sources.file?.values[name] },
      { from: `togather:${key}`, value: sources.config[key] },
    ];
    const found = candidates.find(({ value }) => value !== undefined && value !== "");
    const fix = `pulumi config set --secret togather:${key} "$(${generate[key]})"`;
    if (found?.value === undefined) {
      problems.push({ where: `togather:${key}`, what: `is missing; expected in the environment (${name}), the secrets file or the stack's config`, fix });
      return "";
    }
    if (placeholder.test(found.value)) {
      problems.push({ where: found.from, what: "is a placeholder, expected a secret of your own", fix });
    } else if (found.value.length < minimumLength[key]) {
      problems.push({ where: found.from, what: `has ${found.value.length} characters, expected at least ${minimumLength[key]}`, fix });
    }
    return found.value;
  };
  const value = { jwtSecret: resolve("jwtSecret"), adminApiKey: resolve("adminApiKey"), databasePassword: resolve("databasePassword") };
  return { value, problems };
}
