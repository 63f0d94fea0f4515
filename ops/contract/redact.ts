/**
 * Keeps secrets out of everything that is printed or written, in two ways: known values, wherever they occur, and
 * typical patterns of secrets (the reference's patterns), for unknown ones. Existing libraries cover object paths
 * (pino's redact) or npm's tokens (@npmcli/redact), not free text such as a database's error message.
 */
import { SECRET_VARIABLES } from "./secrets.ts";

export const REDACTED = "***REDACTED***";

/** Names of variables, JSON fields and URL parameters whose values are secrets. */
const secretName =
  "[A-Za-z0-9_-]*(?:database_?url|jwt_?secret|api_?key|password|passwd|passphrase|pgpassword|secret|token|tls_?key|private_?key)";
/** Placeholders for a value in hints: `…`, `...`, `$(openssl rand -hex 32)`, with or without quotes. */
const placeholder = String.raw`(?!(?<quote>["'\x60]?)(?:…|\.\.\.|\$\(openssl rand [-\w ]+\))\k<quote>(?:[\s.,;)]|$))`;
/** A value in the syntax of shells, URLs, JSON and connection strings: quoted, or up to its delimiter. */
const secretValue = String.raw`${placeholder}(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\\"(?:[^"\\]|\\[^"])*\\"|[^\s"'&,;}]+)`;

const patterns: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN ([A-Z ]*)PRIVATE KEY-----[\s\S]*?(?:-----END \1PRIVATE KEY-----|$)/g, REDACTED],
  // scheme://user:password@host. The password may contain characters that should have been encoded: everything up to
  // the last @. Hints have … there.
  [/\b([a-z][a-z0-9+.-]*:\/\/[^\s:/?#@"']*):(?!…@[^\s"'@]*(?:[\s"']|$))[^\s"']*@/gi, `$1:${REDACTED}@`],
  [/\b(authorization["']?\s*[:=]\s*["']?(?:bearer|basic)\s+)[^\s"',;]+/gi, `$1${REDACTED}`],
  [/\b(bearer\s+)[A-Za-z0-9._~+/=-]{8,}/gi, `$1${REDACTED}`],
  // "jwt_secret": "…" and \"jwt_secret\": \"…\"
  [new RegExp(String.raw`(\\?["'])(${secretName})\1(\s*:\s*)${secretValue}`, "gi"), `$1$2$1$3$1${REDACTED}$1`],
  [new RegExp(String.raw`\b(${secretName}\s*=\s*)${secretValue}`, "gi"), `$1${REDACTED}`],
];
const secretKey = new RegExp(`^${secretName}$`, "i");
/** Whether the value under a name, such as SMTP_PASSWORD, is a secret. */
export const isSecretName = (name: string): boolean => secretKey.test(name);

/** A shorter value would occur in innocent places, and is no secret. */
const shortestSecret = 4;

/** The spellings of a value and its parts: a URL's password, raw and decoded, JSON-escaped, encoded. */
function spellings(value: string): string[] {
  const parts = [value];
  const password = /^[a-z][a-z0-9+.-]*:\/\/[^:/?#@]*:(.*)@/is.exec(value)?.[1];
  const parameter = /[?&]password=([^&#]*)/i.exec(value)?.[1];
  for (const part of [password, parameter]) {
    if (part === undefined || part === "") continue;
    parts.push(part);
    try {
      parts.push(decodeURIComponent(part));
    } catch {
      // Not valid percent-encoding: it is used unchanged.
    }
  }
  // Programs print a multi-line secret (a PEM key) line by line.
  if (value.includes("\n"))
    parts.push(...value.split(/\r?\n/).filter((line) => line.length >= 16 && !line.startsWith("-----")));
  return parts.flatMap((part) => [part, JSON.stringify(part).slice(1, -1), encodeURIComponent(part)]);
}

/** The strings in a JSON list. Empty: it is none. */
function listed(json: string): string[] {
  try {
    const list: unknown = JSON.parse(json);
    return Array.isArray(list) ? list.filter((entry) => typeof entry === "string") : [];
  } catch {
    return [];
  }
}

export interface Redactor {
  text(text: string): string;
  /** Redacts every string inside a value, and values under names such as `password`. */
  value(value: unknown): unknown;
}

/**
 * A redactor that knows the secrets of an environment.
 * @param environment has the values of SECRET_VARIABLES.
 */
export function createRedactor(environment: NodeJS.ProcessEnv): Redactor {
  const known = new Set<string>();
  for (const name of SECRET_VARIABLES) {
    // A certificate is public. Its name is listed because it is sent in the same way.
    if (name === "TLS_CERTIFICATE") continue;
    const given = environment[name] ?? "";
    const secrets = name === "SERVER_SECRETS" ? listed(given) : [given];
    for (const spelling of secrets.flatMap(spellings)) if (spelling.length >= shortestSecret) known.add(spelling);
  }
  // The longest first: a secret may contain another.
  const values = [...known].sort((a, b) => b.length - a.length);

  const text = (input: string): string => {
    let output = input;
    for (const value of values) output = output.replaceAll(value, REDACTED);
    for (const [pattern, replacement] of patterns) output = output.replace(pattern, replacement);
    return output;
  };
  const value = (input: unknown): unknown => {
    if (typeof input === "string") return text(input);
    if (input instanceof Error) return text(input.message);
    if (Array.isArray(input)) return input.map(value);
    if (typeof input === "object" && input !== null) {
      return Object.fromEntries(
        Object.entries(input).map(([key, entry]) => [
          key,
          secretKey.test(key) && typeof entry === "string" ? REDACTED : value(entry),
        ]),
      );
    }
    return input;
  };
  return { text, value };
}
