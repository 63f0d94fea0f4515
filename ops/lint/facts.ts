/** Facts about a migration that the steps need before they run it, read by PostgreSQL's own parser. */
import type { Node } from "libpg-query";
import type { Facts, FileFacts } from "../contract/file-facts.ts";
import { upFiles } from "../contract/migrations.ts";
import { beyondDatabase, functionsBeyond } from "./beyond.ts";
import { doBody, hasOption, relationName } from "./nodes.ts";
import { parseFile, SqlSyntaxError } from "./statements.ts";

/** Whether a statement calls dblink's functions, whose effects are another session's. */
function callsElsewhere(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(value)) return value.some(callsElsewhere);
  const call = (value as { FuncCall?: { funcname?: Node[] } }).FuncCall;
  const last = call?.funcname?.at(-1);
  if (last !== undefined && "String" in last && (last.String.sval ?? "").startsWith("dblink")) return true;
  return Object.values(value).some(callsElsewhere);
}

/** Whether a statement ends transactions itself, or can't be in one with others. */
function endsTransactions(node: Node): boolean {
  if ("TransactionStmt" in node || "CallStmt" in node || "CreatedbStmt" in node || "DropdbStmt" in node) return true;
  if ("AlterSystemStmt" in node || "CreateTableSpaceStmt" in node || "DropTableSpaceStmt" in node) return true;
  if ("CreateSubscriptionStmt" in node || "AlterSubscriptionStmt" in node || "DropSubscriptionStmt" in node)
    return true;
  if ("AlterDatabaseStmt" in node) return hasOption(node.AlterDatabaseStmt.options, "tablespace");
  if ("IndexStmt" in node) return node.IndexStmt.concurrent === true;
  if ("DropStmt" in node) return node.DropStmt.concurrent === true;
  if ("ReindexStmt" in node)
    return (
      hasOption(node.ReindexStmt.params, "concurrently") ||
      !["REINDEX_OBJECT_INDEX", "REINDEX_OBJECT_TABLE"].includes(node.ReindexStmt.kind ?? "")
    );
  if ("VacuumStmt" in node) return node.VacuumStmt.is_vacuumcmd === true;
  if ("ClusterStmt" in node) return node.ClusterStmt.relation === undefined;
  if ("AlterTableStmt" in node) return detaches(node);
  // A block alone in its file may commit.
  if ("DoStmt" in node) return /\b(commit|rollback)\b/i.test(doBody(node));
  return callsElsewhere(node);
}

function detaches(node: Node): boolean {
  return (
    "AlterTableStmt" in node &&
    (node.AlterTableStmt.cmds ?? []).some(
      (cmd) =>
        "AlterTableCmd" in cmd &&
        (cmd.AlterTableCmd.subtype === "AT_DetachPartitionFinalize" ||
          (cmd.AlterTableCmd.subtype === "AT_DetachPartition" &&
            cmd.AlterTableCmd.def !== undefined &&
            "PartitionCmd" in cmd.AlterTableCmd.def &&
            cmd.AlterTableCmd.def.PartitionCmd.concurrent === true)),
    )
  );
}

/** Whether a statement is outside of any transaction, and leaves nothing behind but invalid indexes. */
function runsAgain(node: Node): boolean {
  if ("IndexStmt" in node) return node.IndexStmt.concurrent === true;
  if ("DropStmt" in node) return node.DropStmt.concurrent === true;
  if ("ReindexStmt" in node) return hasOption(node.ReindexStmt.params, "concurrently");
  return "VacuumStmt" in node;
}

/** Whether ordinary reads and writes do not wait behind a statement while it waits. */
function waits(node: Node): boolean {
  if ("VacuumStmt" in node) return !hasOption(node.VacuumStmt.options, "full");
  if ("RefreshMatViewStmt" in node) return node.RefreshMatViewStmt.concurrent === true;
  if ("AlterTableStmt" in node) {
    const cmds = node.AlterTableStmt.cmds ?? [];
    return (
      detaches(node) ||
      (cmds.length > 0 &&
        cmds.every((cmd) => "AlterTableCmd" in cmd && cmd.AlterTableCmd.subtype === "AT_ValidateConstraint"))
    );
  }
  return runsAgain(node);
}

/** @throws {SqlSyntaxError} */
export async function factsOf(text: string): Promise<FileFacts> {
  const { statements } = await parseFile(text);
  const nodes = statements.map(({ node }) => node);
  const [only] = nodes.length === 1 ? nodes : [];
  const made = new Set(
    nodes.flatMap((node) =>
      "CreateStmt" in node && node.CreateStmt.if_not_exists !== true ? [relationName(node.CreateStmt.relation)] : [],
    ),
  );
  return {
    oneTransaction: !nodes.some(endsTransactions),
    waits: only !== undefined && waits(only),
    runsAgain: only !== undefined && runsAgain(only),
    indexes: nodes.flatMap((node) => {
      if (!("IndexStmt" in node) || made.has(relationName(node.IndexStmt.relation))) return [];
      const { idxname, relation, if_not_exists } = node.IndexStmt;
      return [
        {
          name: idxname ?? null,
          schema: relation?.schemaname ?? null,
          table: relation?.relname ?? "",
          ifNotExists: if_not_exists === true,
        },
      ];
    }),
    beyond: statements.flatMap(({ node, line }) =>
      beyondDatabase(node, functionsBeyond(nodes)).map((what) => ({ line, what })),
    ),
    lines: statements.map(({ line }) => line),
  };
}

/** Facts of all `up` files among the texts of a directory. */
export async function factsOfAll(texts: ReadonlyMap<string, string>): Promise<Facts> {
  const facts: Facts = {};
  for (const { file } of upFiles([...texts.keys()])) {
    try {
      facts[file] = await factsOf(texts.get(file) ?? "");
    } catch (error) {
      if (!(error instanceof SqlSyntaxError)) throw error;
      facts[file] = null;
    }
  }
  return facts;
}
