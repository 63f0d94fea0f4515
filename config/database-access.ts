import { normalizeDatabaseUrl, parseDatabaseUrl, type Connection } from "../ops/contract/connection.ts";
import { StepError } from "../ops/contract/errors.ts";
import type { Problem } from "./problems.ts";
import type { FoundSecret } from "./secrets/secrets.ts";

/** The check of a database URL by itself. */
export interface UrlCheck {
  /** The URL in a form that all programs read alike. Undefined: it is no valid URL. */
  url: string | undefined;
  password: string | undefined;
  problems: Problem[];
  /** The connection may be unencrypted; the environment's rule decides whether that matters. */
  withoutTls: Problem[];
}

const encryptedModes = ["require", "verify-ca", "verify-full"];

/** Whether an address means the container itself when a container connects to it. */
function meansTheContainer({ host }: Connection): boolean {
  return /^(localhost|127(\.\d+){3}|::1|0\.0\.0\.0|::)$/i.test(host);
}

/** Checks a URL without connecting. No problem contains its password. */
export function checkDatabaseUrl({ name, from, value }: FoundSecret): UrlCheck {
  let connection: Connection;
  try {
    connection = parseDatabaseUrl(value, name);
  } catch (error) {
    if (!(error instanceof StepError)) throw error;
    const problem: Problem = { where: from, what: error.message.replace(`${name} `, "") };
    return {
      url: undefined,
      password: undefined,
      problems: [error.hint === undefined ? problem : { ...problem, fix: error.hint }],
      withoutTls: [],
    };
  }
  const problems: Problem[] = [];
  if (connection.host.startsWith("/")) {
    problems.push({
      where: from,
      what: `names the socket ${connection.host}, which the server's container doesn't have`,
      fix: "name a host: host.docker.internal is the Docker host",
    });
  } else if (meansTheContainer(connection)) {
    problems.push({
      where: from,
      what: `names ${connection.host}, which is the server's own container`,
      fix: "write host.docker.internal for the Docker host (the database has to listen beyond its loopback), or the database's container and set togather:database.network",
    });
  }
  const withoutTls = encryptedModes.includes(connection.sslMode)
    ? []
    : [
        {
          where: from,
          what: `connects with sslmode=${connection.sslMode}, expected at least require`,
          fix: "end the URL with ?sslmode=require, or verify-full where the server has a certificate of a public authority",
        },
      ];
  return { url: normalizeDatabaseUrl(value, name), password: connection.password, problems, withoutTls };
}
