/** Creating and dropping databases beside the live one. */
import pg from "pg";
import type { DatabaseAttributes } from "../../contract/manifest.ts";
import { giveDatabase, readDatabaseAttributes } from "./database-attributes.ts";
import type { DatabaseServer } from "./database-server.ts";
import { connect as connectTo } from "./sql.ts";

/**
 * `CREATE DATABASE` with encoding, locale and owner of another database.
 * @param known its attributes, where that database is gone.
 */
export async function createDatabaseLike(
  server: DatabaseServer,
  model: string,
  name: string,
  known?: DatabaseAttributes,
): Promise<void> {
  const { client, superuser, owner } = server;
  const like = (await readDatabaseAttributes(client, model)) ?? known;
  const { rows } = await client.query("SELECT FROM pg_roles WHERE rolname = $1", [like?.owner ?? owner]);
  // Only a superuser can create a database for another owner.
  const options: string[] = [
    "TEMPLATE template0",
    ...(superuser && rows.length === 1 ? [`OWNER ${pg.escapeIdentifier(like?.owner ?? owner)}`] : []),
  ];
  if (like !== undefined) {
    options.push(`ENCODING ${pg.escapeLiteral(like.encoding)}`);
    if (like.collate !== null) options.push(`LC_COLLATE ${pg.escapeLiteral(like.collate)}`);
    if (like.ctype !== null) options.push(`LC_CTYPE ${pg.escapeLiteral(like.ctype)}`);
    if (like.provider === "b")
      options.push("LOCALE_PROVIDER builtin", `BUILTIN_LOCALE ${pg.escapeLiteral(like.locale ?? "C.UTF-8")}`);
    else if (like.provider === "i") {
      options.push("LOCALE_PROVIDER icu", `ICU_LOCALE ${pg.escapeLiteral(like.locale ?? "und")}`);
      if (typeof like.icuRules === "string") options.push(`ICU_RULES ${pg.escapeLiteral(like.icuRules)}`);
    }
    // Before PostgreSQL 15 there is no other provider, and no keyword for it.
    else if (like.provider !== null) options.push("LOCALE_PROVIDER libc");
    // Only where this role may use the tablespace. Elsewhere the person who restores is told.
    const { rows: may } = await client.query(
      "SELECT FROM pg_tablespace WHERE spcname = $1 AND has_tablespace_privilege(oid, 'CREATE')",
      [like.tablespace ?? ""],
    );
    if (like.tablespace !== undefined && may.length === 1)
      options.push(`TABLESPACE ${pg.escapeIdentifier(like.tablespace)}`);
  }
  await client.query(`CREATE DATABASE ${pg.escapeIdentifier(name)} ${options.join(" ")}`);
  // The application's role may read its own database only.
  await client.query(`REVOKE ALL ON DATABASE ${pg.escapeIdentifier(name)} FROM PUBLIC`);
  // Before the load: a database's owner has rights in its schema public. Where this role can't give it away, the load
  // reports that.
  if (!superuser) await giveDatabase(server, name, like?.owner ?? owner);
}

/** Removes the subscriptions of a copy, which keep it from being dropped. The publisher is not contacted. */
async function dropSubscriptions({ connection }: DatabaseServer, database: string): Promise<void> {
  const client = await connectTo({ ...connection, database }, "togather-restore");
  try {
    const { rows } = await client.query<{ name: string }>(
      "SELECT subname AS name FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())",
    );
    for (const { name } of rows) {
      const subscription = `SUBSCRIPTION ${pg.escapeIdentifier(name)}`;
      for (const statement of [
        `ALTER ${subscription} DISABLE`,
        `ALTER ${subscription} SET (slot_name = NONE)`,
        `DROP ${subscription}`,
      ])
        await client.query(statement);
    }
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** Drops a database and ends all connections to it. */
export async function dropDatabase({ client }: DatabaseServer, name: string): Promise<void> {
  await client.query(`DROP DATABASE IF EXISTS ${pg.escapeIdentifier(name)} WITH (FORCE)`);
}

/** Drops a scratch copy, including subscriptions that it may hold. */
export async function dropScratchDatabase(server: DatabaseServer, name: string): Promise<void> {
  try {
    await dropDatabase(server, name);
  } catch (error) {
    // 55006: in use by something that FORCE does not end.
    if (!(error instanceof pg.DatabaseError) || error.code !== "55006") throw error;
    await dropSubscriptions(server, name);
    await dropDatabase(server, name);
  }
}
