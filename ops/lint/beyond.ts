/**
 * Statements that act on the database server as a whole, or outside of it: a copy of the database does not contain
 * their effects.
 */
import type { Node } from "libpg-query";
import { doBody } from "./nodes.ts";

/** Functions that reach out of the database. */
const reaching = [
  "dblink\\w*",
  "pg_(?:terminate|cancel)_backend",
  "pg_reload_conf",
  "pg_rotate_logfile",
  "pg_switch_wal",
  "pg_create_restore_point",
  "pg_promote",
  "pg_wal_replay_\\w+",
  "pg_(?:backup_start|backup_stop|start_backup|stop_backup)",
  "pg_\\w*replication_(?:slot|origin)\\w*",
  "pg_logical_slot_\\w+",
  "pg_stat_reset_(?:shared|slru|replication_slot|subscription_stats)",
  "pg_stat_statements_reset",
  "pg_file_\\w+",
  "lo_export",
].join("|");
const reachesOut = new RegExp(`^(?:${reaching})$`);

/**
 * Words for such effects in a DO block or a function. Text that only looks like one counts too: it is then not
 * rehearsed.
 */
const inBlock = new RegExp(
  [
    "\\bALTER\\s+(?:DATABASE|ROLE|USER(?!\\s+MAPPING)|GROUP|SYSTEM|TABLESPACE)\\b",
    "\\b(?:CREATE|DROP)\\s+(?:DATABASE|ROLE|USER(?!\\s+MAPPING)|GROUP|TABLESPACE|SUBSCRIPTION)\\b",
    "\\b(?:GRANT|REVOKE)\\b[^;]*\\bON\\s+DATABASE\\b",
    "\\b(?:COMMENT|SECURITY\\s+LABEL)\\b[^;]*\\bON\\s+(?:DATABASE|ROLE|TABLESPACE)\\b",
    "\\b(?:REASSIGN|DROP)\\s+OWNED\\b",
    "\\b(?:FROM|TO)\\s+PROGRAM\\b",
    `\\b(?:${reaching})\\s*\\(`,
  ].join("|"),
  "i",
);

const byKind: Readonly<Record<string, string>> = {
  AlterDatabaseStmt: "ALTER DATABASE",
  AlterDatabaseSetStmt: "ALTER DATABASE … SET",
  AlterDatabaseRefreshCollStmt: "ALTER DATABASE",
  CreatedbStmt: "CREATE DATABASE",
  DropdbStmt: "DROP DATABASE",
  CreateRoleStmt: "CREATE ROLE",
  AlterRoleStmt: "ALTER ROLE",
  AlterRoleSetStmt: "ALTER ROLE … SET",
  DropRoleStmt: "DROP ROLE",
  AlterSystemStmt: "ALTER SYSTEM",
  CreateTableSpaceStmt: "CREATE TABLESPACE",
  DropTableSpaceStmt: "DROP TABLESPACE",
  AlterTableSpaceOptionsStmt: "ALTER TABLESPACE",
  CreateSubscriptionStmt: "CREATE SUBSCRIPTION",
  AlterSubscriptionStmt: "ALTER SUBSCRIPTION",
  DropSubscriptionStmt: "DROP SUBSCRIPTION",
  ReassignOwnedStmt: "REASSIGN OWNED",
  DropOwnedStmt: "DROP OWNED",
};
/** Objects that all databases of a server share. */
const shared: Readonly<Record<string, string>> = {
  OBJECT_DATABASE: "DATABASE",
  OBJECT_ROLE: "ROLE",
  OBJECT_TABLESPACE: "TABLESPACE",
  OBJECT_PARAMETER_ACL: "PARAMETER",
};

const lastName = (parts: readonly Node[] | undefined): string => {
  const last = parts?.at(-1);
  return last !== undefined && "String" in last ? (last.String.sval ?? "") : "";
};

function* calls(value: unknown): Generator<string> {
  if (typeof value !== "object" || value === null) return;
  if (Array.isArray(value)) {
    for (const part of value) yield* calls(part);
    return;
  }
  const call = (value as { FuncCall?: { funcname?: Node[] } }).FuncCall;
  if (call !== undefined) yield lastName(call.funcname);
  for (const inner of Object.values(value)) yield* calls(inner);
}
/** Names of a file's functions and procedures that act beyond the database when they are called. */
export function functionsBeyond(nodes: readonly Node[]): Set<string> {
  return new Set(
    nodes.flatMap((node) => {
      if (!("CreateFunctionStmt" in node)) return [];
      const { funcname, options = [] } = node.CreateFunctionStmt;
      const bodies = options.flatMap((option) =>
        "DefElem" in option && option.DefElem.defname === "as" && option.DefElem.arg !== undefined
          ? [JSON.stringify(option.DefElem.arg).replaceAll("\\n", " ")]
          : [],
      );
      return bodies.some((body) => inBlock.test(body)) ? [lastName(funcname)] : [];
    }),
  );
}

/**
 * Effects of a statement beyond its database; empty: none.
 * @param functions functions of the same file with such effects. Functions of other files are not known.
 */
export function beyondDatabase(node: Node, functions: ReadonlySet<string>): string[] {
  const kind = Object.keys(node)[0] ?? "";
  const whole = byKind[kind];
  if (whole !== undefined) return [whole];
  if ("GrantRoleStmt" in node) return [node.GrantRoleStmt.is_grant === true ? "GRANT of a role" : "REVOKE of a role"];
  if ("GrantStmt" in node) {
    const what = shared[node.GrantStmt.objtype ?? ""];
    return what === undefined ? [] : [`${node.GrantStmt.is_grant === true ? "GRANT" : "REVOKE"} ON ${what}`];
  }
  const of = (verb: string, type: string | undefined): string[] =>
    shared[type ?? ""] === undefined ? [] : [`${verb} ${shared[type ?? ""] ?? ""}`];
  if ("RenameStmt" in node) return of("rename of a", node.RenameStmt.renameType);
  if ("AlterOwnerStmt" in node) return of("change of owner of a", node.AlterOwnerStmt.objectType);
  if ("CommentStmt" in node) return of("COMMENT ON", node.CommentStmt.objtype);
  if ("SecLabelStmt" in node) return of("SECURITY LABEL ON", node.SecLabelStmt.objtype);
  if ("CopyStmt" in node)
    return node.CopyStmt.is_program === true
      ? ["COPY … PROGRAM"]
      : node.CopyStmt.filename !== undefined && node.CopyStmt.is_from !== true
        ? ["COPY … TO a file"]
        : [];
  if ("DoStmt" in node) {
    const body = doBody(node);
    const called = [...functions].some((name) =>
      new RegExp(`\\b${name.replace(/\W/g, "\\$&")}\\s*\\(`, "i").test(body),
    );
    return called || inBlock.test(body) ? ["a DO block with such a statement"] : [];
  }
  // The effects of a function or view come when it is called.
  if ("CreateFunctionStmt" in node || "ViewStmt" in node || "RuleStmt" in node) return [];
  const called = "CallStmt" in node ? [lastName(node.CallStmt.funccall?.funcname)] : [...new Set(calls(node))];
  return called.filter((name) => reachesOut.test(name) || functions.has(name)).map((name) => `${name}()`);
}
