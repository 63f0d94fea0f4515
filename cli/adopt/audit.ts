import { parse } from "dotenv";
import { cutValues } from "../../config/secrets/dotenv.ts";
import { reservedVariables } from "../../config/checks/server.ts";
import { isPlaceholder } from "../../config/secrets/secret-strength.ts";
import type { StackSettings } from "../../config/schema/stack-settings.ts";

/** Compares an environment file with its server's template. Names only: no value leaves this code. */
export interface EnvironmentAudit {
  /** In the template, and not in the file. */
  missing: string[];
  /** In the file, and not in the template. */
  extra: string[];
  /** In the file, but in no Go file of the server. Undefined: its source is not here. */
  unread: string[] | undefined;
  placeholders: string[];
  /** Values with a `#` outside of quotes, at which they end. */
  cut: string[];
  /** The place of each variable in a stack. */
  moves: { secrets: string[]; settings: string[]; deployment: string[]; database: string[] };
}

/** Whether a variable is a secret: by its name, or because its value is a URL with a password. */
export function isSecret(name: string, value: string): boolean {
  return (
    /(SECRET|PASSWORD|PASSPHRASE|TOKEN|CREDENTIAL|_AUTH$|_DSN$|(^|_)KEY$|_HEADERS$|WEBHOOK)/.test(name) ||
    /:\/\/[^/\s]*@/.test(value)
  );
}

/**
 * The place of a variable in a stack. `deployment`: the deployment sets it; `database`: it belonged to the old
 * database, and is dropped.
 */
export type Place = "secrets" | "settings" | "deployment" | "database";

export function placeOf(name: string, value: string, source: Pick<StackSettings["source"], "portVariable">): Place {
  const needed = ["JWT_SECRET", "ADMIN_API_KEY"];
  if (
    name === "ENVIRONMENT" ||
    (reservedVariables({ ...source, unreadSecrets: [] }).includes(name) && !needed.includes(name))
  )
    return "deployment";
  if (/^(POSTGRES_|PG)/.test(name)) return "database";
  return isSecret(name, value) ? "secrets" : "settings";
}

/**
 * @param template undefined: there is none, so that nothing is missing or extra.
 * @param read variables that the server's Go files name; undefined: its source is not here.
 */
export function auditEnvironment(
  file: string,
  {
    template,
    read,
    source,
  }: {
    template: string | undefined;
    read: ReadonlySet<string> | undefined;
    source: Pick<StackSettings["source"], "portVariable">;
  },
): EnvironmentAudit {
  const values = parse(file);
  const names = Object.keys(values).sort();
  const expected = template === undefined ? undefined : new Set(Object.keys(parse(template)));
  const of = (place: Place): string[] => names.filter((name) => placeOf(name, values[name] ?? "", source) === place);
  return {
    missing: expected === undefined ? [] : [...expected].filter((name) => !(name in values)).sort(),
    extra: expected === undefined ? [] : names.filter((name) => !expected.has(name)),
    unread: read === undefined ? undefined : names.filter((name) => !read.has(name)),
    placeholders: names.filter((name) => isPlaceholder(values[name] ?? "")),
    cut: cutValues(file),
    moves: { secrets: of("secrets"), settings: of("settings"), deployment: of("deployment"), database: of("database") },
  };
}
