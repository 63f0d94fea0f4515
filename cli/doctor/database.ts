import { unreachable } from "../../ops/host/unreachable.ts";
import { containerName } from "../../ops/contract/names.ts";
import type { Settings } from "../../config/settings.ts";
import { parseDatabaseUrl } from "../../ops/contract/connection.ts";
import { connectionsFor, poolSize, roomProblems } from "../../ops/contract/connection-room.ts";
import { askDatabase, NoDatabase, type DatabaseQuestion, type DatabaseReport } from "../../ops/host/database.ts";
import type { PlainSettings } from "../stack-file.ts";
import { fail, ok, warn, type Finding } from "./finding.ts";

/** The oldest major version that the PostgreSQL project still supports. */
const oldestPostgres = 14;

/**
 * The question for a deployment's database.
 * @param decrypted all settings with their secrets; an external database can't be asked without them.
 */
export function databaseQuestion(
  { name, host, database }: Pick<PlainSettings, "name" | "host" | "database">,
  decrypted: Settings | undefined,
): DatabaseQuestion | undefined {
  const { extensions, network, mode } = database;
  if (mode === "bundled") return { name, host, extensions };
  if (decrypted?.database.mode !== "external") return undefined;
  const app = parseDatabaseUrl(decrypted.database.url.reveal()).user;
  return { name, host, extensions, external: { url: decrypted.database.migrationUrl.reveal(), network, app } };
}

/**
 * Whether there is room for the connections of a release. The roles of the bundled database have no limits of their
 * own.
 */
export function roomFindings(
  { room, asked, app, database }: Pick<DatabaseReport, "room" | "asked" | "app" | "database">,
  { source, database: { mode } }: Pick<PlainSettings, "source" | "database">,
  decrypted: Settings | undefined,
): Finding[] {
  const url = decrypted?.database.mode === "external" ? decrypted.database.url.reveal() : undefined;
  const pool = poolSize(url, source.environment);
  const problems = roomProblems(room, { app: app ?? asked, owner: asked, database, pool });
  return problems.map(({ level, what, fix }) =>
    (level === "error" ? fail : warn)(
      "connections",
      what,
      "room for a release",
      mode === "bundled" && pool !== undefined
        ? `togather:database.maxConnections ${connectionsFor(pool)} or more; docs/settings.md, Connections`
        : fix,
    ),
  );
}

/**
 * Checks the database: reachable, new enough, with the extensions, its schema not left in the middle of a migration.
 */
export async function databaseFindings(
  settings: Pick<PlainSettings, "name" | "host" | "database" | "source">,
  decrypted: Settings | undefined,
): Promise<Finding[]> {
  const { name, database } = settings;
  const question = databaseQuestion(settings, decrypted);
  if (question === undefined)
    return [warn("database", "can't be asked while the settings are not right", "its URL", "mend the settings first")];
  const bundled = question.external === undefined;
  try {
    const report = await askDatabase(question);
    const { version, missingExtensions, schema } = report;
    const about = `PostgreSQL ${version}, ${schema === null ? "no migration applied yet" : `schema version ${schema.version}`}`;
    if (parseInt(version, 10) < oldestPostgres)
      return [fail("database", about, `PostgreSQL ${oldestPostgres} or newer`, "a newer server; docs/operations.md")];
    if (missingExtensions.length > 0)
      return [
        fail(
          "database",
          `${about}, without ${missingExtensions.join(", ")}`,
          database.extensions.join(", "),
          bundled
            ? "leave them out of togather:database.extensions, or add their packages to images/postgres/Dockerfile"
            : `as a superuser of the database: ${missingExtensions.map((name) => `CREATE EXTENSION "${name}";`).join(" ")}`,
        ),
      ];
    if (schema?.dirty === true)
      return [
        fail(
          "database",
          `${about} is dirty: a migration was interrupted`,
          "a schema that is whole",
          `${bundled ? `docker exec -it -u postgres ${containerName(name, "database")} psql -d togather` : "psql"}: see which part of ${schema.version} is there, put it right, then UPDATE schema_migrations SET dirty = false`,
        ),
      ];
    return [ok("database", about), ...roomFindings(report, settings, decrypted)];
  } catch (error) {
    if (!(error instanceof NoDatabase)) throw error;
    if (!error.exists)
      return [
        bundled
          ? ok("database", `${error.message}: the first deployment makes it`)
          : warn("database", error.message, "an answer", "each deployment asks it before it changes anything"),
      ];
    return [
      fail(
        "database",
        error.message,
        "an answer",
        unreachable(error.message) !== undefined
          ? "togather doctor, once the Docker host answers"
          : bundled
            ? `docker logs ${containerName(name, "database")}`
            : "check DATABASE_URL and MIGRATION_DATABASE_URL, and that the Docker host reaches the database",
      ),
    ];
  }
}
