import { resolve } from "node:path";
import { certificateProblems, describeCertificate } from "../../config/certificate.ts";
import { loadSettings, type Settings } from "../../config/settings.ts";
import { SettingsError, type Problem } from "../../config/problems.ts";
import { readSecretsFile, secretsFileOf } from "../../config/secrets/secrets.ts";
import { secretNames } from "../../config/secrets/table.ts";
import { readTls, tlsNames } from "../../config/tls.ts";
import type { PlainSettings } from "../stack-file.ts";
import { fail, ok, warn, type Finding } from "./finding.ts";

/** The stack's config as Pulumi decrypts it. Undefined: it can't. */
export interface DecryptedConfig {
  values: Record<string, string>;
  encrypted: ReadonlySet<string>;
}

const isAboutSecret = ({ where }: Problem): boolean =>
  Object.entries(secretNames).some(([key, name]) => where.includes(key) || where.includes(name)) ||
  /^\.env|^togather:secrets/.test(where);
/** The certificate has its own check. */
const isAboutTls = ({ where }: Problem): boolean =>
  where.startsWith("togather:tls.") || Object.values(tlsNames).some((name) => where.endsWith(name));

/** All settings as a deployment reads them: the stack file, deployment.yml and the secrets; with their problems. */
export function examineSettings(
  config: DecryptedConfig | string,
  project: string,
): { settings: Settings | undefined; findings: Finding[] } {
  if (typeof config === "string")
    return {
      settings: undefined,
      findings: [
        fail(
          "settings",
          config,
          "a config that Pulumi can decrypt",
          /no stack named/.test(config)
            ? "pulumi login to the backend that has the stack"
            : "set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE to what the stack was made with",
        ),
      ],
    };
  let settings: Settings | undefined;
  let problems: readonly Problem[] = [];
  try {
    settings = loadSettings({
      config: config.values,
      encryptedKeys: config.encrypted,
      environment: process.env,
      projectDirectory: project,
    });
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error;
    ({ problems } = error);
  }
  const finding = (check: string, { where, what, fix }: Problem): Finding => ({
    check,
    status: "fail",
    found: `${where}: ${what}`,
    ...(fix === undefined ? {} : { fix }),
  });
  const secrets = problems.filter((problem) => isAboutSecret(problem) && !isAboutTls(problem));
  const others = problems.filter((problem) => !isAboutSecret(problem) && !isAboutTls(problem));
  const findings = [
    ...(others.length === 0 ? [ok("settings", "valid")] : others.map((problem) => finding("settings", problem))),
    ...(secrets.length === 0
      ? [ok("secrets", "all found, and good enough for the environment")]
      : secrets.map((problem) => finding("secrets", problem))),
    ...(settings?.warnings ?? []).map((text): Finding => ({ check: "settings", status: "warn", found: text })),
  ];
  return { settings, findings };
}

/** Certificate and key, from where a deployment takes them. */
export function tlsFindings(
  settings: Pick<PlainSettings, "tls" | "environment" | "secretsFile">,
  project: string,
  environment = process.env,
): Finding[] {
  const { file } = readSecretsFile(resolve(project, secretsFileOf(settings)), secretsFileOf(settings));
  const { value: pair, problems: unread } = readTls(settings, { environment, file }, project);
  const files = `togather:tls.certificateFile and .keyFile name files on this machine, or ${tlsNames.certificate} and ${tlsNames.key} have their texts`;
  const [first] = unread;
  if (first !== undefined)
    return [fail("tls", `${first.where}: ${first.what}`, "a certificate and its key, PEM", first.fix ?? files)];
  if (pair === undefined) return [];
  const problems = certificateProblems(pair);
  if (problems.length === 0) return [ok("tls", describeCertificate(pair.certificate))];
  return problems.map(({ severity, what, expected, fix }) =>
    (severity === "broken" || what.includes("expired") ? fail : warn)(
      "tls",
      what,
      expected ?? "a pair that is valid for two more weeks",
      fix,
    ),
  );
}
