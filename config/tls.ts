import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { environmentRules } from "./schema/environments.ts";
import type { Problem } from "./problems.ts";
import { findSecret, type SecretSources } from "./secrets/secrets.ts";
import type { StackSettings } from "./schema/stack-settings.ts";

/** A certificate, with its chain, and its key: PEM texts. */
export interface TlsPair {
  certificate: string;
  key: string;
}

/** The PEM texts themselves, in the environment or the secrets file: for machines without such files, e.g. CI. */
export const tlsNames = { certificate: "TLS_CERTIFICATE", key: "TLS_KEY" } as const;
const parts = ["certificate", "key"] as const;
const labels = { certificate: "CERTIFICATE", key: "PRIVATE KEY" } as const;

const block = (label: string): RegExp =>
  new RegExp(`-----BEGIN [A-Z0-9 ]*${label}-----[\\s\\S]*?-----END [A-Z0-9 ]*${label}-----\\r?\\n?`, "g");

/**
 * A certificate without a key, which some programs want in the same file: the certificate's file can be read by more
 * people than the key's.
 */
const withoutKey = (certificate: string): string => certificate.replace(block(labels.key), "");

const isPem = (text: string, part: keyof TlsPair): boolean =>
  new RegExp(`-----BEGIN [A-Z ]*${labels[part]}-----\\r?\\n`).test(text);

/** A file of `togather:tls`. */
function readFile(projectDirectory: string, part: keyof TlsPair, file: string): { text: string; problems: Problem[] } {
  const path = resolve(projectDirectory, file);
  const where = `togather:tls.${part}File`;
  if (!existsSync(path))
    return { text: "", problems: [{ where, what: `${file} does not exist, expected a PEM file` }] };
  const text = readFileSync(path, "utf8");
  const problem = { where, what: `${file} is no PEM file with a ${labels[part]}` };
  return { text, problems: isPem(text, part) ? [] : [problem] };
}

/** A text from its variable. */
function readVariable(sources: TlsSources, part: keyof TlsPair): { text: string; problems: Problem[] } {
  const name = tlsNames[part];
  const other = tlsNames[part === "key" ? "certificate" : "key"];
  const found = findSecret(sources, name);
  if (found === undefined) {
    const fix = `set both in the environment or the secrets file, or unset ${other}`;
    return {
      text: "",
      problems: [{ where: name, what: `is missing, but ${other} is set: a certificate needs its key`, fix }],
    };
  }
  const fix = `${name} is the text of the PEM file, with its line breaks`;
  const problem = { where: found.from, what: `is no PEM text with a ${labels[part]}`, fix };
  return { text: found.value, problems: isPem(found.value, part) ? [] : [problem] };
}

type TlsSources = Pick<SecretSources, "environment" | "file">;

/**
 * The certificate and its key: texts from the environment or the secrets file (which win, like every secret), or the
 * files of `togather:tls`. Undefined: there are none. `certificateProblems` checks them.
 */
export function readTls(
  { tls, environment }: Pick<StackSettings, "tls" | "environment">,
  sources: TlsSources,
  projectDirectory: string,
): { value: TlsPair | undefined; problems: Problem[] } {
  // Where no HTTPS is served, a variable may be there for another stack.
  const byVariable =
    environmentRules[environment].blueGreen && parts.some((part) => findSecret(sources, tlsNames[part]) !== undefined);
  if (!byVariable && tls === undefined) return { value: undefined, problems: [] };
  const [certificate, key] = parts.map((part) =>
    byVariable || tls === undefined
      ? readVariable(sources, part)
      : readFile(projectDirectory, part, tls[`${part}File`]),
  ) as [ReturnType<typeof readFile>, ReturnType<typeof readFile>];
  return {
    value: { certificate: withoutKey(certificate.text), key: key.text },
    problems: [...certificate.problems, ...key.problems],
  };
}
