import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { parse } from "dotenv";
import { dotenvLine } from "../config/dotenv.ts";
import { bundledSecrets, secretNames } from "../config/secrets.ts";

/** Makes up the secrets that the file doesn't have yet, and says which. Those that it has stay as they are. */
export function ensureSecrets(file: string): string[] {
  const text = existsSync(file) ? readFileSync(file, "utf8") : "# Made by npm start for this machine's deployment. Never commit it.\n";
  const present = parse(text);
  const missing = bundledSecrets.map((key) => secretNames[key]).filter((name) => !present[name]);
  if (missing.length > 0) {
    const lines = missing.map((name) => `${dotenvLine(name, randomBytes(36).toString("base64url"))}\n`);
    const separator = text === "" || text.endsWith("\n") ? "" : "\n";
    writeFileSync(file, `${text}${separator}${lines.join("")}`, { mode: 0o600 });
  }
  chmodSync(file, 0o600);
  return missing;
}
