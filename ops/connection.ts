/** DATABASE_URL, taken apart once for all who need it: libpq's and pgx's PG* variables, and node's `pg`. */
import { readFileSync } from "node:fs";
import type { ClientConfig } from "pg";
import { StepError } from "./errors.ts";

const sslModes = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] as const;
type SslMode = (typeof sslModes)[number];

/** What DATABASE_URL says, decoded. */
export interface Connection {
  /** Name, address, or directory of a unix socket. */
  host: string;
  port: number;
  user: string;
  password: string | undefined;
  database: string;
  sslMode: SslMode;
  /** File with the authorities that verify-ca and verify-full trust. */
  sslRootCert: string;
  /** `-c name=value …` for the server. */
  options: string;
}

/** Debian's collection of public authorities, in the ops image. */
const publicAuthorities = "/etc/ssl/certs/ca-certificates.crt";

/** PostgreSQL's URLs may leave the host out (`user@/database?host=…`); the URL parser wants one. */
const noHost = "no-host.invalid";

function broken(what: string, hint?: string): StepError {
  return new StepError(`DATABASE_URL ${what}`, {
    hint: hint ?? "write it as postgresql://user:password@host:5432/database, with special characters of the password percent-encoded (@ as %40, / as %2F, : as %3A, # as %23, ? as %3F, % as %25)",
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

/** A value inside of `-c name=value`: libpq splits at spaces. */
export function escapeOption(value: string): string {
  return value.replace(/[\\\s]/g, (character) => `\\${character}`);
}

/**
 * Takes a connection URL apart. Its password is in no message.
 * @throws {StepError} when it is no PostgreSQL URL, or means something other than it seems to.
 */
export function parseDatabaseUrl(text: string | undefined): Connection {
  if (text === undefined || text === "") throw broken("is not set");
  if (!/^postgres(ql)?:\/\//i.test(text)) throw broken("is no PostgreSQL URL: it doesn't begin with postgresql://");
  let url: URL;
  try {
    // The URL parser drops tabs and line breaks without a word.
    url = new URL(text.replace(/[\t\r\n]/g, (character) => encodeURIComponent(character)).replace(/^(\w+:\/\/[^/?#]*@)(?=[/?]|$)/, `$1${noHost}`));
  } catch {
    throw broken("can't be read as a URL");
  }
  if (url.hash !== "") throw broken("contains a # that is not encoded");
  if (url.pathname.indexOf("/", 1) !== -1) throw broken("contains a / that is not encoded");
  if (url.username === "" && url.search.includes("@")) throw broken("contains a ? that is not encoded");

  const parameters = url.searchParams;
  const host = parameters.get("host") ?? decoded(url.hostname === noHost ? "" : url.hostname, "host").replace(/^\[(.*)\]$/, "$1");
  if (host === "") throw broken("names no host");
  if (host.includes(",")) throw broken("names several hosts; this needs one");
  const user = parameters.get("user") ?? decoded(url.username, "user");
  if (user === "") throw broken("names no user");
  const sslMode = parameters.get("sslmode") ?? "prefer";
  if (!(sslModes as readonly string[]).includes(sslMode)) throw broken(`has sslmode=${sslMode}, expected one of ${sslModes.join(", ")}`);
  const port = Number(parameters.get("port") ?? (url.port === "" ? "5432" : url.port));
  if (!Number.isInteger(port) || port < 1 || port > 65535) throw broken("has a port that is no number from 1 to 65535");
  const searchPath = parameters.get("search_path");
  const rootCert = parameters.get("sslrootcert");
  return {
    host,
    port,
    user,
    password: parameters.get("password") ?? (url.password === "" ? undefined : decoded(url.password, "password")),
    // As libpq: the database that is named like the user, when none is named.
    database: parameters.get("dbname") ?? (decoded(url.pathname.slice(1), "database name") || user),
    sslMode: sslMode as SslMode,
    sslRootCert: rootCert === null || rootCert === "system" ? publicAuthorities : rootCert,
    options: [parameters.get("options"), searchPath === null ? null : `-c search_path=${escapeOption(searchPath)}`].filter((part) => part !== null).join(" "),
  };
}

/** How the connection reaches programs, libpq's and Go's: by environment, so that it is on no command line. */
export function connectionEnvironment(connection: Connection, applicationName: string, options: readonly string[] = []): Record<string, string> {
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
    // A function: with nothing at all, pg would look into PGPASSWORD and ~/.pgpass of the machine.
    password: connection.password ?? ((): string => ""),
    application_name: applicationName,
    connectionTimeoutMillis: 10_000,
    ssl: sslOf(connection),
    ...(connection.options === "" ? {} : { options: connection.options }),
  };
}
