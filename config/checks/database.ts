import type { Problem } from "../problems.ts";
import type { StackSettings } from "../schema/stack-settings.ts";
import { errors, found, type Check } from "./check.ts";

/** Settings that contradict the chosen kind of database. */
function databaseProblems({ database, databaseUrl, migrationDatabaseUrl, databaseAdminUrl }: StackSettings): Problem[] {
  if (database.mode === "external") {
    if (database.maxConnections === undefined) return [];
    return [
      {
        where: "togather:database.maxConnections",
        what: "is for the bundled database, but togather:database.mode is external",
        fix: "pulumi config rm --path togather:database.maxConnections, and set max_connections on its server",
      },
    ];
  }
  const forExternal = { "database.network": database.network, databaseUrl, migrationDatabaseUrl, databaseAdminUrl };
  return Object.entries(forExternal)
    .filter(([, value]) => value !== "")
    .map(([key]) => ({
      where: `togather:${key}`,
      what: "is for an external database, but togather:database.mode is bundled",
      fix: "pulumi config set --path togather:database.mode external",
    }));
}

/** The database's settings, and problems of its URLs that show without connecting. */
export const checkDatabase: Check = ({ stack, rules, urls }) => [
  ...errors(databaseProblems(stack)),
  ...urls.flatMap(({ problems, withoutTls }) => [...errors(problems), ...found(rules.databaseTls, withoutTls)]),
];
