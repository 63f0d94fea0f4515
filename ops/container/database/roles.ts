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

/**
 * Statements that make the roles of a snapshot that a server doesn't have, and no others: what roles there are now is
 * the server's own business.
 * @param sql what `tolerateExistingRoles` has made.
 */
export function missingRoles(sql: string, existing: readonly string[]): { names: string[]; statements: string[] } {
  const names = new Set<string>();
  const statements: string[] = [];
  for (const line of sql.split("\n")) {
    const [, kind, quoted] =
      /^(?:DO \$togather\$ BEGIN )?(CREATE|ALTER) ROLE ("(?:[^"]|"")+"|[^\s";]+)/.exec(line) ?? [];
    if (quoted === undefined) continue;
    const name = quoted.startsWith('"') ? quoted.slice(1, -1).replaceAll('""', '"') : quoted;
    if (existing.includes(name)) continue;
    if (kind === "CREATE") names.add(name);
    statements.push(line);
  }
  return { names: [...names], statements };
}
