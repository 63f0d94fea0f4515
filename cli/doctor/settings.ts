import { resolve } from "node:path";
import { existsSync, readFileSync } from "node:fs";
import { certificateProblems, describeCertificate } from "../../config/certificate.ts";
import { loadSettings, type Settings } from "../../config/load.ts";
import { SettingsError, type Problem } from "../../config/problems.ts";
import { secretNames } from "../../config/secrets.ts";
import type { PlainSettings } from "../stack-file.ts";
import { fail, ok, warn, type Finding } from "./finding.ts";

/** The stack's config as Pulumi decrypts it; undefined where it can't. */
export interface DecryptedConfig {
  values: Record<string, string>;
  encrypted: ReadonlySet<string>;
}

const isAboutSecret = ({ where }: Problem): boolean =>
  Object.entries(secretNames).some(([key, name]) => where.includes(key) || where.includes(name)) || /^\.env|^togather:secrets/.test(where);
/** The certificate has a check of its own. */
const isAboutTls = ({ where }: Problem): boolean => where.startsWith("togather:tls.");

/** All settings as a deployment reads them: the stack file, deployment.yml and the secrets; and what is wrong with them. */
export function examineSettings(config: DecryptedConfig | string, project: string): { settings: Settings | undefined; findings: Finding[] } {
  if (typeof config === "string") return { settings: undefined, findings: [fail("settings", config, "a config that Pulumi can decrypt", "set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE to what the stack was made with")] };
  let settings: Settings | undefined;
  let problems: readonly Problem[] = [];
  try {
    settings = loadSettings({ config: config.values, encryptedKeys: config.encrypted, environment: process.env, projectDirectory: project });
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    ({ problems } = error);
  }
  const finding = (check: string, { where, what, fix }: Problem): Finding => ({ check, status: "fail", found: `${where}: ${what}`, ...(fix === undefined ? {} : { fix }) });
  const secrets = problems.filter(isAboutSecret);
  const others = problems.filter((problem) => !isAboutSecret(problem) && !isAboutTls(problem));
  const findings = [
    ...(others.length === 0 ? [ok("settings", "valid")] : others.map((problem) => finding("settings", problem))),
    ...(secrets.length === 0 ? [ok("secrets", "all found, and good enough for the environment")] : secrets.map((problem) => finding("secrets", problem))),
    ...(settings?.warnings ?? []).map((text): Finding => ({ check: "settings", status: "warn", found: text })),
  ];
  return { settings, findings };
}

/** Certificate and key. */
export function tlsFindings({ tls }: Pick<PlainSettings, "tls">, project: string): Finding[] {
  if (tls === undefined) return [];
  const files = [tls.certificateFile, tls.keyFile].map((file) => resolve(project, file));
  const missing = files.find((file) => !existsSync(file));
  if (missing !== undefined) return [fail("tls", `${missing} does not exist`, "a PEM file", "togather:tls.certificateFile and .keyFile name files on this machine")];
  const [certificate = "", key = ""] = files.map((file) => readFileSync(file, "utf8"));
  const problems = certificateProblems({ certificate, key });
  if (problems.length === 0) return [ok("tls", describeCertificate(certificate))];
  return problems.map(({ severity, what, fix }) => (severity === "broken" || what.includes("expired") ? fail : warn)("tls", what, "a pair that is valid for two more weeks", fix));
}
