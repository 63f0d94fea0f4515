/**
 * Rights in schemas that a migration creates. The role that serves has rights in public only, unless the migration
 * grants more.
 */
import pg from "pg";
import type { StepLog } from "../../contract/context.ts";

/**
 * Not `current_user::regrole`: that parses the name as SQL, folds its capitals, and gives meaning to quotes, dots and
 * spaces.
 */
const ownRole = "(SELECT oid FROM pg_roles WHERE rolname = current_user)";

const kinds = { r: "TABLES", S: "SEQUENCES" } as const;

/**
 * Grants in this role's other schemas the same default rights as in public, where nobody has set any rights yet.
 * @returns the schemas.
 */
export async function openOwnSchemas(client: pg.Client, log: Pick<StepLog, "info">): Promise<string[]> {
  const { rows: schemas } = await client.query<{ name: string }>(
    `SELECT nspname AS name FROM pg_namespace n WHERE nspowner = ${ownRole} AND nspacl IS NULL AND nspname NOT LIKE 'pg\\_%' AND nspname NOT IN ('public', 'information_schema')
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e') ORDER BY 1`,
  );
  if (schemas.length === 0) return [];
  const { rows: rights } = await client.query<{ role: string; kind: keyof typeof kinds; privileges: string }>(
    `SELECT g.grantee::regrole::text AS role, d.defaclobjtype AS kind, string_agg(g.privilege_type, ', ' ORDER BY 1) AS privileges
       FROM pg_default_acl d, aclexplode(d.defaclacl) g
      WHERE d.defaclrole = ${ownRole} AND d.defaclnamespace = to_regnamespace('public') AND g.grantee NOT IN (0, d.defaclrole) AND d.defaclobjtype IN ('r', 'S')
      GROUP BY g.grantee, d.defaclobjtype ORDER BY 1, 2`,
  );
  if (rights.length === 0) return [];
  const roles = [...new Set(rights.map(({ role }) => role))];
  const statements = schemas.flatMap(({ name }) => {
    const schema = pg.escapeIdentifier(name);
    return [
      `GRANT USAGE ON SCHEMA ${schema} TO ${roles.join(", ")}`,
      ...rights.flatMap(({ role, kind, privileges }) => [
        `ALTER DEFAULT PRIVILEGES IN SCHEMA ${schema} GRANT ${privileges} ON ${kinds[kind]} TO ${role}`,
        `GRANT ${privileges} ON ALL ${kinds[kind]} IN SCHEMA ${schema} TO ${role}`,
      ]),
    ];
  });
  // One message to the server is one transaction.
  await client.query(statements.join("; "));
  const names = schemas.map(({ name }) => name);
  log.info(
    `migrate: ${names.join(", ")}: ${roles.join(", ")} ${roles.length === 1 ? "gets" : "get"} the rights there that ${roles.length === 1 ? "it has" : "they have"} in public`,
  );
  return names;
}
