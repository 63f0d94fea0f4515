/** DATABASE_URL, parsed once for all its users: libpq's and pgx's PG* variables, and node's `pg`. */
import { readFileSync } from "node:fs";
import type { ClientConfig } from "pg";
import { StepError } from "./errors.ts";

const sslModes = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] as const;
type SslMode = (typeof sslModes)[number];

/** The parts of DATABASE_URL, decoded. */
export interface Connection {
  /** Name, address, or directory of a unix socket. */
  host: string;
  port: number;
  user: string;
  password: string | undefined;
  database: string;
  sslMode: SslMode;
  /** File with the certificate authorities for verify-ca and verify-full. */
  sslRootCert: string;
  /** `-c name=value …` for the server. */
  options: string;
}

/**
 * Parameters that name a database, for libpq and pgx or for pgx alone. There they override the path; node's `pg`
 * ignores them.
 */
const namesDatabase = (parameter: string): boolean =>
  [...new URLSearchParams(parameter).keys()].some((name) => /^(dbname|database)$/i.test(name));

/** The same URL with another database of the same server, for every parser. */
export function withDatabaseName(url: string, database: string): string {
  const at = url.indexOf("?");
  if (at === -1) return withPath(url, database);
  const query = url
    .slice(at + 1)
    .split("&")
    .filter((parameter) => !namesDatabase(parameter))
    .join("&");
  return withPath(url.slice(0, at), database) + (query === "" ? "" : `?${query}`);
}

function withPath(url: string, database: string): string {
  // Not through the URL parser, which needs a host: PostgreSQL's URLs may leave it out.
  return url.replace(
    /^(\w+:\/\/[^/?#]*)(?:\/[^?#]*)?/,
    (_, server: string) => `${server}/${encodeURIComponent(database)}`,
  );
}

/** Debian's bundle of public certificate authorities, in the ops image. */
const publicAuthorities = "/etc/ssl/certs/ca-certificates.crt";

/** PostgreSQL's URLs may leave the host out (`user@/database?host=…`); the URL parser needs one. */
const noHost = "no-host.invalid";

/** The problem of a URL; `parseDatabaseUrl` adds the variable's name. */
class Broken extends Error {
  readonly hint: string | undefined;
  constructor(what: string, hint: string | undefined) {
    super(what);
    this.hint = hint;
  }
}

function broken(what: string, hint?: string): Broken {
  return new Broken(what, hint);
}

function asStepError(error: unknown, variable: string): unknown {
  if (!(error instanceof Broken)) return error;
  const { message, hint } = error;
  return new StepError(`${variable} ${message}`, {
    hint:
      hint ??
      "write it as postgresql://user:…@host:5432/database, with special characters of the password percent-encoded (@ as %40, / as %2F, : as %3A, # as %23, ? as %3F, % as %25)",
  });
}

function decoded(text: string, part: string): string {
  let value: string;
  try {
    value = decodeURIComponent(text);
  } catch {
    throw broken(`has a % in its ${part} that begins no percent-encoded character`);
  }
  if (value.includes("\0")) throw broken(`has a NUL character in its ${part}`);
  return value;
}

/** Escapes a value inside `-c name=value`: libpq splits at spaces. */
export function escapeOption(value: string): string {
  return value.replace(/[\\\s]/g, (character) => `\\${character}`);
}

function readUrl(text: string): URL {
  try {
    // The URL parser silently drops tabs and line breaks, and needs a host.
    return new URL(
      text
        .replace(/[\t\r\n]/g, (character) => encodeURIComponent(character))
        .replace(/^(\w+:\/\/[^/?#]*@)(?=[/?]|$)/, `$1${noHost}`),
    );
  } catch {
    throw broken("can't be read as a URL");
  }
}

/**
 * Parses a connection URL. No message contains its password.
 * @param variable the variable's name, for messages.
 * @throws {StepError} when it is no PostgreSQL URL, or is ambiguous.
 */
export function parseDatabaseUrl(text: string | undefined, variable = "DATABASE_URL"): Connection {
  try {
    return parse(text);
  } catch (error) {
    throw asStepError(error, variable);
  }
}

/**
 * Parameters that not all of libpq, pgx and node's pg know, so that they would reach different databases; with the
 * alternative that all understand.
 */
const ambiguous: ReadonlyMap<string, string> = new Map([
  ["database", "name the database in the path: postgresql://user:…@host:5432/database"],
  ["hostaddr", "name the address as the host"],
  ["service", "name host, user and database in the URL"],
  ["servicefile", "name host, user and database in the URL"],
]);

/** A parameter's name for a message. Anything that does not look like a name may be a piece of a password. */
const shownParameter = (name: string): string => (/^[a-z_]{1,40}$/.test(name) ? `${name}=` : "of an odd name");

function parse(text: string | undefined): Connection {
  if (text === undefined || text === "") throw broken("is not set");
  if (!/^postgres(ql)?:\/\//i.test(text)) throw broken("is no PostgreSQL URL: it doesn't begin with postgresql://");
  const url = readUrl(text);
  if (url.hash !== "") throw broken("contains a # that is not encoded");
  if (url.pathname.indexOf("/", 1) !== -1) throw broken("contains a / that is not encoded");
  if (url.username === "" && url.search.includes("@")) throw broken("contains a ? that is not encoded");

  const parameters = url.searchParams;
  for (const name of new Set(parameters.keys())) {
    // libpq takes the last, pgx and node's pg the first.
    if (parameters.getAll(name).length > 1)
      throw broken(`has the parameter ${shownParameter(name)} more than once`, "leave one of them");
    const better = ambiguous.get(name);
    if (better !== undefined)
      throw broken(
        `has the parameter ${name}=, which some programs read and others don't`,
        `leave it out, and ${better}`,
      );
  }
  const host =
    parameters.get("host") ?? decoded(url.hostname === noHost ? "" : url.hostname, "host").replace(/^\[(.*)\]$/, "$1");
  if (host === "") throw broken("names no host");
  if (host.includes(",")) throw broken("names several hosts; this needs one");
  const user = parameters.get("user") ?? decoded(url.username, "user");
  if (user === "") throw broken("names no user");
  const sslMode = parameters.get("sslmode") ?? "prefer";
  if (!(sslModes as readonly string[]).includes(sslMode))
    throw broken(`has sslmode=${sslMode}, expected one of ${sslModes.join(", ")}`);
  const port = Number(parameters.get("port") ?? (url.port === "" ? "5432" : url.port));
  if (!Number.isInteger(port) || port < 1 || port > 65535)
    throw broken("has a port that is not a number from 1 to 65535");
  const searchPath = parameters.get("search_path");
  const rootCert = parameters.get("sslrootcert");
  return {
    host,
    port,
    user,
    password: parameters.get("password") ?? (url.password === "" ? undefined : decoded(url.password, "password")),
    // Like libpq: without a database name, the user's name.
    database: parameters.get("dbname") ?? (decoded(url.pathname.slice(1), "database name") || user),
    sslMode: sslMode as SslMode,
    sslRootCert: rootCert === null || rootCert === "system" ? publicAuthorities : rootCert,
    options: [parameters.get("options"), searchPath === null ? null : `-c search_path=${escapeOption(searchPath)}`]
      .filter((part) => part !== null)
      .join(" "),
  };
}

/** The parts of a connection URL. */
export interface UrlParts extends Pick<Connection, "host" | "port" | "user" | "password" | "database"> {
  /** Parameters such as sslmode. */
  parameters?: Record<string, string>;
}

/**
 * Formats a connection URL that libpq, pgx and `parseDatabaseUrl` read alike. Parsing it returns the same parts,
 * whatever they contain.
 */
export function formatDatabaseUrl({ host, port, user, password, database, parameters = {} }: UrlParts): string {
  // encodeURIComponent leaves these characters, which have a meaning in a URL's authority for one parser or another.
  const encode = (part: string): string =>
    encodeURIComponent(part).replace(
      /[!'()*]/g,
      (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
    );
  const userinfo = password === undefined ? encode(user) : `${encode(user)}:${encode(password)}`;
  // An IPv6 address in brackets; a socket's directory is a parameter, since Go's parser takes no %2F in a host.
  const socket = host.startsWith("/");
  const authority = socket ? "" : `${host.includes(":") ? `[${host}]` : host}:${port}`;
  // A path of dots alone means a directory up, or none, encoded or not.
  const dots = /^\.{1,2}$/.test(database);
  const all = { ...(socket ? { host, port: String(port) } : {}), ...(dots ? { dbname: database } : {}), ...parameters };
  const query = Object.entries(all).map(([name, value]) => `${encode(name)}=${encode(value)}`);
  return `postgresql://${userinfo}@${authority}/${dots ? "" : encode(database)}${query.length === 0 ? "" : `?${query.join("&")}`}`;
}

/**
 * The same URL with everything encoded that needs to be: libpq and our own parser are lenient, Go's is not.
 * @throws {StepError} like `parseDatabaseUrl`.
 */
export function normalizeDatabaseUrl(text: string, variable = "DATABASE_URL"): string {
  const { database } = parseDatabaseUrl(text, variable);
  const { href, searchParams } = readUrl(text);
  const normalized = href.replace(noHost, "").replace(/^postgres:/i, "postgresql:");
  // A path can't be dots alone.
  return searchParams.has("dbname") && !/^\.{1,2}$/.test(database)
    ? withDatabaseName(normalized, database)
    : normalized;
}

/** Environment variables that give programs (libpq's and Go's) the connection: it is on no command line. */
export function connectionEnvironment(
  connection: Connection,
  applicationName: string,
  options: readonly string[] = [],
): Record<string, string> {
  const all = [connection.options, ...options].filter((part) => part !== "").join(" ");
  return {
    PGHOST: connection.host,
    PGPORT: String(connection.port),
    PGUSER: connection.user,
    PGDATABASE: connection.database,
    PGSSLMODE: connection.sslMode,
    PGAPPNAME: applicationName,
    PGCONNECT_TIMEOUT: "10",
    ...(connection.password === undefined ? {} : { PGPASSWORD: connection.password }),
    ...(connection.sslMode.startsWith("verify-") ? { PGSSLROOTCERT: connection.sslRootCert } : {}),
    ...(all === "" ? {} : { PGOPTIONS: all }),
  };
}

function readAuthorities(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new StepError(`DATABASE_URL names sslrootcert=${file}, which is not in the ops image`, {
      hint: "leave sslrootcert out to trust the public authorities, or use sslmode=require",
      cause,
    });
  }
}

function sslOf(connection: Connection): ClientConfig["ssl"] {
  switch (connection.sslMode) {
    case "disable":
    case "allow":
      return false;
    case "prefer":
    case "require":
      return { rejectUnauthorized: false };
    case "verify-ca":
      return { ca: readAuthorities(connection.sslRootCert), checkServerIdentity: () => undefined };
    case "verify-full":
      return { ca: readAuthorities(connection.sslRootCert) };
  }
}

/** The connection for node's `pg`. */
export function clientConfig(connection: Connection, applicationName: string): ClientConfig {
  return {
    host: connection.host,
    port: connection.port,
    user: connection.user,
    database: connection.database,
    // A function: without any password, pg would read PGPASSWORD and ~/.pgpass of the machine.
    password: connection.password ?? ((): string => ""),
    application_name: applicationName,
    connectionTimeoutMillis: 10_000,
    // A session that holds a lock or a snapshot is silent for as long as a dump takes: networks drop such connections.
    keepAlive: true,
    keepAliveInitialDelayMillis: 30_000,
    ssl: sslOf(connection),
    ...(connection.options === "" ? {} : { options: connection.options }),
  };
}
