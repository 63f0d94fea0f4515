/**
 * Makes pg_dumpall's roles restorable where they exist already, and by a role that may not create roles: a snapshot
 * is most often restored into the cluster that it came from, with `psql` stopping at the first error.
 */
export function tolerateExistingRoles(sql: string): string {
  return sql
    .split("\n")
    .map((line) => {
      const complete = /^(CREATE ROLE|ALTER ROLE|GRANT) .*;$/.test(line);
      // A line that holds its own dollar quotes or ends inside of a string is left as it is.
      if (!complete || line.includes("$") || (line.match(/'/g) ?? []).length % 2 === 1) return line;
      return `DO $togather$ BEGIN ${line} EXCEPTION WHEN duplicate_object OR insufficient_privilege THEN NULL; END $togather$;`;
    })
    .join("\n")
    .concat("\n");
}

const name = String.raw`("(?:[^"]|"")+"|[^\s";]+)`;
const unquoted = (quoted: string): string =>
  quoted.startsWith('"') ? quoted.slice(1, -1).replaceAll('""', '"') : quoted;

/** What the roles of a snapshot that a server doesn't have take. */
export interface MissingRoles {
  names: string[];
  /** They make the roles, with their settings. */
  statements: string[];
  /** They give them to each other, and to roles that are there. */
  memberships: string[];
}

/**
 * Statements that make the roles of a snapshot that a server doesn't have, with what they are members of, and no others: what roles there are now is
 * the server's own business.
 * @param sql what `tolerateExistingRoles` has made.
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
    // Who had given it may have no right to it here: it is the restoring role's gift.
    memberships.push(`GRANT ${granted} TO ${member}${options}`);
  }
  return { names: [...names], statements, memberships };
}
