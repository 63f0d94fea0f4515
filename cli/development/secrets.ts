import { join } from "node:path";
import { environmentRules } from "../../config/schema/environments.ts";
import { secretsFileOf } from "../../config/secrets/secrets.ts";
import { secretNames, type bundledSecrets } from "../../config/secrets/table.ts";
import { ensureSecrets } from "../start/local-secrets.ts";
import type { PlainSettings, StackFile } from "../stack-file.ts";

/**
 * Generates the missing secrets of a development stack in its secrets file: the data and the server belong to this
 * machine alone. Secrets of the environment or the stack's config, secrets that the server doesn't read, and secrets of
 * other environments are left alone.
 * @returns the generated names and their place, for people; undefined when nothing was missing.
 */
export function ensureDevelopmentSecrets(
  project: string,
  file: Pick<StackFile, "has">,
  settings: Pick<PlainSettings, "environment" | "database" | "secretsFile" | "source">,
  environment: NodeJS.ProcessEnv,
): { names: string[]; file: string } | undefined {
  if (environmentRules[settings.environment].blueGreen || settings.database.mode === "external") return undefined;
  const shownAs = secretsFileOf(settings);
  const unread: readonly string[] = settings.source.unreadSecrets;
  const isGiven = (key: (typeof bundledSecrets)[number]): boolean =>
    Boolean(environment[secretNames[key]]) || file.has(key) || unread.includes(secretNames[key]);
  const names = ensureSecrets(join(project, shownAs), {
    isGiven,
    comment: "Made by togather up for development on this machine. Never commit it.",
  });
  return names.length === 0 ? undefined : { names, file: shownAs };
}
