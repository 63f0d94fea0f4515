import { parse } from "dotenv";
import { cutValues } from "../../config/dotenv.ts";
import { reservedVariables } from "../../config/load.ts";
import { isPlaceholder } from "../../config/secret-strength.ts";
import type { StackSettings } from "../../config/stack-settings.ts";

/** An environment file against its server's template. Names only: no value leaves this. */
export interface EnvironmentAudit {
  /** In the template, and not in the file. */
  missing: string[];
  /** In the file, and not in the template. */
  extra: string[];
  /** In the file, and named by no Go file of the server; undefined where its source is not there. */
  unread: string[] | undefined;
  placeholders: string[];
  /** Values with a `#` outside of quotes, behind which they end. */
  cut: string[];
  /** What becomes of each variable in a stack. */
  moves: { secrets: string[]; settings: string[]; deployment: string[]; database: string[] };
}

/** Whether a variable has to be kept secret: by its name, or since its value is a URL with a password. */
export function isSecret(name: string, value: string): boolean {
  return /(SECRET|PASSWORD|PASSPHRASE|TOKEN|CREDENTIAL|_AUTH$|_DSN$|(^|_)KEY$|_HEADERS$|WEBHOOK)/.test(name) || /:\/\/[^/\s]*@/.test(value);
}

/**
 * @param template undefined where there is none: then nothing is missing or extra.
 * @param read what the server's Go files name; undefined where they are not there.
 */
export function auditEnvironment(file: string, { template, read, source }: { template: string | undefined; read: ReadonlySet<string> | undefined; source: Pick<StackSettings["source"], "portVariable"> }): EnvironmentAudit {
  const values = parse(file);
  const names = Object.keys(values).sort();
  const expected = template === undefined ? undefined : new Set(Object.keys(parse(template)));
  const passwords = new Set(["JWT_SECRET", "ADMIN_API_KEY"]);
  const reserved = new Set([...reservedVariables({ ...source, unreadSecrets: [] }), "ENVIRONMENT"].filter((name) => !passwords.has(name)));
  const database = (name: string): boolean => /^(POSTGRES_|PG)/.test(name);
  const free = names.filter((name) => !reserved.has(name) && !database(name));
  return {
    missing: expected === undefined ? [] : [...expected].filter((name) => !(name in values)).sort(),
    extra: expected === undefined ? [] : names.filter((name) => !expected.has(name)),
    unread: read === undefined ? undefined : names.filter((name) => !read.has(name)),
    placeholders: names.filter((name) => isPlaceholder(values[name] ?? "")),
    cut: cutValues(file),
    moves: {
      secrets: free.filter((name) => isSecret(name, values[name] ?? "")),
      settings: free.filter((name) => !isSecret(name, values[name] ?? "")),
      deployment: names.filter((name) => reserved.has(name)),
      database: names.filter((name) => database(name) && !reserved.has(name)),
    },
  };
}
