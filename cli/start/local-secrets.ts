import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { parse } from "dotenv";
import { dotenvLine } from "../../config/secrets/dotenv.ts";
import { bundledSecrets, secretNames } from "../../config/secrets/table.ts";

export interface EnsureSecretsOptions {
  /** Whether a secret comes from another source, so that the file need not have it. Default: none does. */
  isGiven?: (key: (typeof bundledSecrets)[number]) => boolean;
  /** The first line of a new file. */
  comment?: string;
}

/**
 * Generates the secrets that the file doesn't have yet, and returns their names. Existing ones stay; no file is created
 * when none is missing.
 */
export function ensureSecrets(
  file: string,
  {
    isGiven = () => false,
    comment = "Made by npm start for this machine's deployment. Never commit it.",
  }: EnsureSecretsOptions = {},
): string[] {
  const exists = existsSync(file);
  const text = exists ? readFileSync(file, "utf8") : `# ${comment}\n`;
  const present = parse(text);
  const missing = bundledSecrets
    .filter((key) => !present[secretNames[key]] && !isGiven(key))
    .map((key) => secretNames[key]);
  if (missing.length > 0) {
    const lines = missing.map((name) => `${dotenvLine(name, randomBytes(36).toString("base64url"))}\n`);
    const separator = text === "" || text.endsWith("\n") ? "" : "\n";
    writeFileSync(file, `${text}${separator}${lines.join("")}`, { mode: 0o600 });
  }
  if (exists || missing.length > 0) chmodSync(file, 0o600);
  return missing;
}
