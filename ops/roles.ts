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
