import { roomColumns, type ConnectionRoom, type RoleRoom } from "../contract/connection-room.ts";
import { containerName } from "../contract/names.ts";
import { messageOf } from "../contract/errors.ts";
import { bundledImageTag } from "../image.ts";
import { tryDocker } from "./docker.ts";
import { oneOffArguments } from "./one-off.ts";

/** The current state of the deployment's database. */
export interface DatabaseReport {
  /** `17.6` */
  version: string;
  /** Extensions that a deployment needs, and that neither exist nor can be created. */
  missingExtensions: string[];
  /** golang-migrate's version. Null: no migration was ever applied. */
  schema: { version: number; dirty: boolean } | null;
  room: ConnectionRoom;
  /** The role that asked, and the server's own role where it was named and exists. */
  asked: RoleRoom;
  app: RoleRoom | null;
  database: string;
}

/** A database, and the extensions that it must have. */
export interface DatabaseQuestion {
  /** The deployment's name. */
  name: string;
  /** Docker host; the local engine when empty. */
  host: string;
  extensions: readonly string[];
  /** An external database. Its URL is a secret, and is passed to the client in the environment. */
  external?: { url: string; network: string; /** The server's role. */ app: string } | undefined;
}

const text = (value: string): string => `'${value.replaceAll("'", "''")}'`;

const roleAsJson = "json_build_object('role', rolname, 'limit', rolconnlimit, 'superuser', rolsuper)";

/**
 * SQL for one line: version, missing extensions, schema, room for connections. query_to_xml can query a table that may
 * not exist.
 */
function question({ extensions, external }: DatabaseQuestion): string {
  // In the bundled database a deployment creates them; in an external one they must exist.
  const [catalogue, column] =
    external === undefined ? ["pg_available_extensions", "name"] : ["pg_extension", "extname"];
  return `
SELECT json_build_object(
  'version', current_setting('server_version'),
  'missingExtensions', (SELECT coalesce(json_agg(wanted), '[]') FROM unnest(ARRAY[${extensions.map(text).join(", ")}]::text[]) wanted WHERE NOT EXISTS (SELECT FROM ${catalogue} WHERE ${column} = wanted)),
  'schema', CASE WHEN to_regclass('schema_migrations') IS NULL THEN NULL ELSE
    (xpath('//row/v/text()', query_to_xml('SELECT json_build_object(''version'', version, ''dirty'', dirty) AS v FROM schema_migrations LIMIT 1', false, false, '')))[1]::text::json END,
  'room', (SELECT row_to_json(r) FROM (SELECT ${roomColumns}) r),
  'asked', (SELECT ${roleAsJson} FROM pg_roles WHERE rolname = current_user),
  'app', ${external === undefined ? "NULL" : `(SELECT ${roleAsJson} FROM pg_roles WHERE rolname = ${text(external.app)})`},
  'database', current_database())`;
}

/** A database that can't be asked: it does not exist yet, or does not answer. */
export class NoDatabase extends Error {
  readonly exists: boolean;
  constructor(message: string, exists: boolean) {
    super(message);
    this.exists = exists;
  }
}

/** The bundled database is asked in its own container as its own superuser: no password, no port. */
function inside({ name }: DatabaseQuestion): { args: string[]; environment: Record<string, string> } {
  return {
    args: ["exec", "--user=postgres", containerName(name, "database"), "psql", "--dbname=togather"],
    environment: {},
  };
}

/** An external one is asked with the client that makes its snapshots, from the network of the steps. */
async function outside({
  url,
  network,
}: {
  url: string;
  network: string;
}): Promise<{ args: string[]; environment: Record<string, string> }> {
  const { connectionEnvironment, parseDatabaseUrl } = await import("../contract/connection.ts");
  const environment = connectionEnvironment(parseDatabaseUrl(url), "togather-doctor");
  const args = oneOffArguments({
    image: bundledImageTag("ops"),
    network: network === "" ? "bridge" : network,
    variables: Object.keys(environment),
    program: ["psql"],
  });
  return { args, environment };
}

/**
 * Asks the database. Changes nothing.
 * @throws {NoDatabase}
 */
export async function askDatabase(about: DatabaseQuestion): Promise<DatabaseReport> {
  const { args, environment } = about.external === undefined ? inside(about) : await outside(about.external);
  const { ok, stdout, stderr } = await tryDocker([...args, "-AtX", "--command", question(about)], {
    host: about.host,
    give: environment,
  }).catch((error: unknown) => ({ ok: false, stdout: "", stderr: messageOf(error) }));
  if (ok && stdout !== "") return JSON.parse(stdout) as DatabaseReport;
  const said = stderr.trim().split("\n").at(-1) ?? "";
  const exists = !/no such (container|image)|unable to find image|database "togather" does not exist/i.test(stderr);
  throw new NoDatabase(
    exists
      ? said
      : about.external === undefined
        ? "there is none yet"
        : "can't be asked before the first deployment has made the image with the client",
    exists,
  );
}
