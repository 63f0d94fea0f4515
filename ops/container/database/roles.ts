/**
 * Makes pg_dumpall's roles restorable where they exist already, and by a role that may not create roles. Most snapshots
 * are restored into the cluster that they came from, and `psql` stops at the first error.
 */
export function tolerateExistingRoles(sql: string): string {
  return sql
    .split("\n")
    .map((line) => {
      const complete = /^(CREATE ROLE|ALTER ROLE|GRANT) .*;$/.test(line);
      // A line with dollar quotes, or one that ends inside a string, stays as it is.
      if (!complete || line.includes("$") || (line.match(/'/g) ?? []).length % 2 === 1) return line;
      return `DO $togather$ BEGIN ${line} EXCEPTION WHEN duplicate_object OR insufficient_privilege THEN NULL; END $togather$;`;
    })
    .join("\n")
    .concat("\n");
}

const name = String.raw`("(?:[^"]|"")+"|[^\s";]+)`;
const unquoted = (quoted: string): string =>
  quoted.startsWith('"') ? quoted.slice(1, -1).replaceAll('""', '"') : quoted;

/** Statements that add a snapshot's roles which a server lacks. */
export interface MissingRoles {
  names: string[];
  /** Create the roles, with their settings. */
  statements: string[];
  /** Grant the roles to each other, and to roles that exist. */
  memberships: string[];
}

/**
 * Statements that create a snapshot's roles which a server lacks, with their memberships. Roles that exist are left
 * alone: they are the server's business.
 * @param sql output of `tolerateExistingRoles`.
 */
export function missingRoles(sql: string, existing: readonly string[]): MissingRoles {
  const names = new Set<string>();
  const statements: string[] = [];
  const memberships: string[] = [];
  for (const line of sql.split("\n")) {
    const [, kind, quoted] = new RegExp(`^(?:DO \\$togather\\$ BEGIN )?(CREATE|ALTER) ROLE ${name}`).exec(line) ?? [];
    if (quoted !== undefined) {
      if (existing.includes(unquoted(quoted))) continue;
      if (kind === "CREATE") names.add(unquoted(quoted));
      statements.push(line);
      continue;
    }
    const [, granted, member, options = ""] =
      new RegExp(
        `^(?:DO \\$togather\\$ BEGIN )?GRANT ${name} TO ${name}( WITH [A-Z, ]+?)?(?: GRANTED BY ${name})?;`,
      ).exec(line) ?? [];
    if (granted === undefined || member === undefined) continue;
    if ([granted, member].every((one) => existing.includes(unquoted(one)))) continue;
    // The original grantor may have no right to grant here: the restoring role grants it.
    memberships.push(`GRANT ${granted} TO ${member}${options}`);
  }
  return { names: [...names], statements, memberships };
}
