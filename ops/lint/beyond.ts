/** Statements that act on the database server as a whole, or outside of it: a copy of the database doesn't hold them back. */
import type { Node } from "libpg-query";
import { doBody } from "./nodes.ts";

/** Words in a DO block that do the same. A text that only looks like it counts too: it is merely not rehearsed. */
const inBlock =
  /\b(ALTER\s+(DATABASE|ROLE|USER|GROUP|SYSTEM)|(CREATE|DROP)\s+(DATABASE|ROLE|USER|GROUP|TABLESPACE|SUBSCRIPTION)|(GRANT|REVOKE)\b[^;]*\bON\s+DATABASE|REASSIGN\s+OWNED|DROP\s+OWNED|dblink)\b/i;

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

function* calls(value: unknown): Generator<string> {
  if (typeof value !== "object" || value === null) return;
  if (Array.isArray(value)) {
    for (const part of value) yield* calls(part);
    return;
  }
  const last = (value as { FuncCall?: { funcname?: Node[] } }).FuncCall?.funcname?.at(-1);
  if (last !== undefined && "String" in last) yield last.String.sval ?? "";
  for (const inner of Object.values(value)) yield* calls(inner);
}
/** Functions that reach out of the database. */
const reachesOut =
  /^(dblink.*|pg_terminate_backend|pg_cancel_backend|pg_reload_conf|pg_rotate_logfile|pg_switch_wal|pg_create_restore_point|pg_file_.*|lo_export)$/;

/** Effects of a statement beyond its database; empty when there are none. */
export function beyondDatabase(node: Node): string[] {
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
  if ("DoStmt" in node) return inBlock.test(doBody(node)) ? ["a DO block with such a statement"] : [];
  // What a function or view does shows when it is called.
  if ("CreateFunctionStmt" in node || "ViewStmt" in node || "RuleStmt" in node) return [];
  return [...new Set(calls(node))].filter((name) => reachesOut.test(name)).map((name) => `${name}()`);
}
