/** Converts the old node's environment file to this stack's settings and secrets. */
import { chmodSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "dotenv";
import { dotenvLine } from "../../config/secrets/dotenv.ts";
import { literally } from "../../config/placeholders.ts";
import { secretsFileOf } from "../../config/secrets/secrets.ts";
import { secretNames } from "../../config/secrets/table.ts";
import { isPlaceholder } from "../../config/secrets/secret-strength.ts";
import { serverSecretNames } from "../../config/schema/stack-settings.ts";
import { connectionsFor } from "../../ops/contract/connection-room.ts";
import { Failure } from "../failure.ts";
import { ensureSecrets } from "../start/local-secrets.ts";
import type { PlainSettings, StackFile } from "../stack-file.ts";
import { placeOf } from "./audit.ts";

/** Names are safe to show; values are not. */
export interface EnvironmentPlan {
  /** For togather:source.environment. */
  settings: Record<string, string>;
  /** For the secrets file. */
  secrets: Record<string, string>;
  /** For togather:source.unreadSecrets: secrets of every stack that this server does not read. */
  unread: (typeof serverSecretNames)[number][];
  /** For togather:database.maxConnections. Undefined: PostgreSQL's default is enough. */
  maxConnections: number | undefined;
  /** Names that are left out, by reason. */
  left: Record<
    "set by the deployment" | "of the old database" | "read by nothing" | "empty" | "placeholders",
    string[]
  >;
}

/** Connections for two slots and a rehearsed release, each with a pool, and 20 for others: see docs/settings.md. */
function moreConnections(pool: string | undefined): number | undefined {
  const needed = connectionsFor(Number(pool));
  return Number.isSafeInteger(needed) && needed > 100 && needed <= 10_000 ? needed : undefined;
}

/** Proxies from which the server accepts a visitor's address. The old node had another one. */
const trustedProxies = "TRUSTED_PROXY_CIDRS";

/**
 * Plans the place of each variable of the old node.
 * @param read variables that the server's Go files name; undefined: its source is not here, so that all may be needed.
 */
export function planEnvironment(
  values: Readonly<Record<string, string>>,
  { read, settings }: { read: ReadonlySet<string> | undefined; settings: Pick<PlainSettings, "source"> },
): EnvironmentPlan {
  const plan: EnvironmentPlan = {
    settings: {},
    secrets: {},
    maxConnections: moreConnections(values["DATABASE_MAX_CONNECTIONS"]),
    unread: read === undefined ? [] : serverSecretNames.filter((name) => !read.has(name)),
    left: {
      "set by the deployment": [],
      "of the old database": [],
      "read by nothing": [],
      empty: [],
      placeholders: [],
    },
  };
  for (const name of Object.keys(values).sort()) {
    const value = values[name] ?? "";
    const place = placeOf(name, value, settings.source);
    if (place === "deployment") plan.left["set by the deployment"].push(name);
    else if (place === "database") plan.left["of the old database"].push(name);
    else if (value === "") plan.left.empty.push(name);
    else if (read !== undefined && !read.has(name)) plan.left["read by nothing"].push(name);
    else if (isPlaceholder(value)) plan.left.placeholders.push(name);
    else plan[place][name] = place === "settings" ? literally(value) : value;
  }
  if (trustedProxies in values || read?.has(trustedProxies) === true) {
    plan.settings[trustedProxies] = "{routerAddress}/32";
    plan.left.empty = plan.left.empty.filter((name) => name !== trustedProxies);
  }
  return plan;
}

/** The names that were written, so that they can be removed again. */
export interface WrittenEnvironment {
  settings: string[];
  /** In togather:source.secrets. */
  listed: string[];
  /** In togather:source.unreadSecrets. */
  unread: string[];
  /** togather:database.maxConnections. */
  maxConnections: boolean;
  /** In the secrets file. */
  secrets: string[];
  /** Generated secrets, also in the secrets file. */
  made: string[];
}

const read = (path: string): string => (existsSync(path) ? readFileSync(path, "utf8") : "");

/** Replaces a file that only its owner can read. */
function writeSecretly(path: string, text: string): void {
  const partial = `${path}.partial`;
  writeFileSync(partial, text, { mode: 0o600 });
  chmodSync(partial, 0o600);
  renameSync(partial, path);
}

/**
 * Writes a plan to the stack's file (not saved) and its secrets file. Existing values stay.
 * @returns the written names, and names that had another value already.
 */
export function writeEnvironment(
  project: string,
  plan: EnvironmentPlan,
  { file, settings }: { file: StackFile; settings: PlainSettings },
): { written: WrittenEnvironment; kept: string[] } {
  const shownAs = secretsFileOf(settings);
  const path = join(project, shownAs);
  const kept: string[] = [];
  const written: WrittenEnvironment = {
    settings: [],
    listed: [],
    unread: plan.unread.filter((name) => !settings.source.unreadSecrets.includes(name)),
    maxConnections: plan.maxConnections !== undefined && settings.database.maxConnections === undefined,
    secrets: [],
    made: [],
  };
  if (written.maxConnections) file.setValue(plan.maxConnections, "database", "maxConnections");
  const unread: readonly string[] = [...settings.source.unreadSecrets, ...written.unread];
  if (written.unread.length > 0) file.setValue(unread, "source", "unreadSecrets");
  for (const [name, value] of Object.entries(plan.settings)) {
    const has = settings.source.environment[name];
    if (has === undefined) {
      file.setValue(value, "source", "environment", name);
      written.settings.push(name);
    } else if (has !== value) kept.push(name);
  }
  const text = read(path);
  const present = parse(text);
  const own: Readonly<Record<string, "jwtSecret" | "adminApiKey">> = {
    [secretNames.jwtSecret]: "jwtSecret",
    [secretNames.adminApiKey]: "adminApiKey",
  };
  const lines: string[] = [];
  for (const [name, value] of Object.entries(plan.secrets)) {
    const key = own[name];
    const inConfig = key === undefined ? file.value("secrets", name) !== undefined : file.has(key);
    if (present[name] === undefined && !inConfig) {
      try {
        lines.push(`${dotenvLine(name, value)}\n`);
      } catch (error) {
        throw new Failure(
          "config",
          error instanceof Error ? error.message : String(error),
          `put it into togather:secrets yourself, then run this again: it stays as it is`,
        );
      }
      written.secrets.push(name);
    } else if (present[name] !== value) kept.push(name);
    if (key === undefined && !settings.source.secrets.includes(name)) written.listed.push(name);
  }
  if (written.listed.length > 0) file.setValue([...settings.source.secrets, ...written.listed], "source", "secrets");
  if (lines.length > 0)
    writeSecretly(path, `${text === "" || text.endsWith("\n") ? text : `${text}\n`}${lines.join("")}`);
  written.made = ensureSecrets(path, {
    isGiven: (key) => file.has(key) || unread.includes(secretNames[key]) || Boolean(process.env[secretNames[key]]),
    comment: "Written by togather adopt. Never commit it.",
  });
  return { written, kept };
}

/** Removes the entries of `writeEnvironment` from both files. The stack's file is not saved. */
export function removeEnvironment(
  project: string,
  written: WrittenEnvironment,
  { file, settings }: { file: StackFile; settings: PlainSettings },
): void {
  for (const name of written.settings) file.setValue(undefined, "source", "environment", name);
  const listed = settings.source.secrets.filter((name) => !written.listed.includes(name));
  if (written.listed.length > 0) file.setValue(listed.length === 0 ? undefined : listed, "source", "secrets");
  if (written.maxConnections) file.setValue(undefined, "database", "maxConnections");
  const unread = settings.source.unreadSecrets.filter((name) => !written.unread.includes(name));
  if (written.unread.length > 0) file.setValue(unread.length === 0 ? undefined : unread, "source", "unreadSecrets");
  const path = join(project, secretsFileOf(settings));
  const text = read(path);
  const values = parse(text);
  let left = text;
  // Only unchanged lines: a value that somebody has changed since is theirs.
  for (const name of [...written.secrets, ...written.made])
    if (values[name] !== undefined) left = left.replace(`${dotenvLine(name, values[name])}\n`, () => "");
  if (left !== text) writeSecretly(path, left);
}
