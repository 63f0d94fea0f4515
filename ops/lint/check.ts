/** The rules, applied to statements of PostgreSQL's parser. */
import type {
  AlterDomainStmt,
  AlterTableStmt,
  ColumnDef,
  Constraint,
  DropStmt,
  GrantStmt,
  Node,
  RangeVar,
  RenameStmt,
  VariableSetStmt,
} from "libpg-query";
import { beyondDatabase, functionsBeyond } from "./beyond.ts";
import { hasOption, nameOf, relationName } from "./nodes.ts";
import type { RuleName } from "./rules.ts";
import type { Statement } from "./statements.ts";

/** A rule that a statement breaks. `at` is a position in the file where the parser has an exact one. */
export interface Hit {
  rule: RuleName;
  /** The part of the statement: a table, a column. */
  what: string;
  at?: number | undefined;
}

function droppedName(object: Node): string {
  if ("List" in object) return nameOf(object.List.items ?? []);
  if ("TypeName" in object) return nameOf(object.TypeName.names ?? []);
  if ("ObjectWithArgs" in object) return nameOf(object.ObjectWithArgs.objname ?? []);
  return nameOf([object]);
}

/** Functions that give all rows the same value: these few are known, all others may differ for each row. */
const sameForAllRows = new Set([
  "now",
  "transaction_timestamp",
  "statement_timestamp",
  "current_setting",
  "to_timestamp",
  "make_date",
  "lower",
  "upper",
  "jsonb_build_object",
  "jsonb_build_array",
  "json_build_object",
]);
function isVolatile(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(value)) return value.some(isVolatile);
  const call = (value as { FuncCall?: { funcname?: Node[]; args?: Node[] } }).FuncCall;
  if (call !== undefined) {
    const name = nameOf(call.funcname ?? []).replace(/^pg_catalog\./, "");
    return !sameForAllRows.has(name) || isVolatile(call.args);
  }
  return Object.values(value).some(isVolatile);
}

/** UPDATE, DELETE and MERGE anywhere in a statement: also in WITH. */
function* writes(value: unknown): Generator<{ kind: string; relation: RangeVar | undefined; where: boolean }> {
  if (typeof value !== "object" || value === null) return;
  if (Array.isArray(value)) {
    for (const part of value) yield* writes(part);
    return;
  }
  for (const [key, inner] of Object.entries(value)) {
    if (key === "UpdateStmt" || key === "DeleteStmt" || key === "MergeStmt") {
      const { relation, whereClause } = inner as { relation?: RangeVar; whereClause?: Node };
      yield {
        kind: key === "UpdateStmt" ? "UPDATE" : key === "DeleteStmt" ? "DELETE" : "MERGE",
        relation,
        where: key === "MergeStmt" || whereClause !== undefined,
      };
    }
    yield* writes(inner);
  }
}

/** Checks the statements of one file in their order: objects that the file itself has created are not in use yet. */
export class Checker {
  /** Tables, views and types that this file has created before. */
  readonly #made = new Set<string>();
  readonly #count: number;
  /** Existing tables that this file has changed before. */
  readonly #changed = new Set<string>();
  /**
   * Objects that the file creates again under the name that it drops: triggers, policies, rules, and constraints
   * without an index.
   */
  readonly #again: ReadonlySet<string>;
  readonly #functionsBeyond: ReadonlySet<string>;

  /** @param nodes all statements of the file. */
  constructor(nodes: readonly Node[]) {
    this.#count = nodes.length;
    this.#again = new Set(nodes.flatMap(madeOn));
    this.#functionsBeyond = functionsBeyond(nodes);
  }

  check({ node }: Pick<Statement, "node">): Hit[] {
    const hits = [
      ...this.#concurrently(node),
      ...this.#statement(node),
      ...beyondDatabase(node, this.#functionsBeyond).map((what): Hit => ({ rule: "beyond-database", what })),
    ];
    // With IF NOT EXISTS or OR REPLACE it may be an older one, which others use.
    if ("CreateStmt" in node) {
      if (node.CreateStmt.if_not_exists !== true || node.CreateStmt.relation?.relpersistence === "t")
        this.#made.add(relationName(node.CreateStmt.relation));
    } else if ("CreateTableAsStmt" in node) {
      if (node.CreateTableAsStmt.if_not_exists !== true) this.#made.add(relationName(node.CreateTableAsStmt.into?.rel));
    } else if ("ViewStmt" in node) {
      if (node.ViewStmt.replace !== true) this.#made.add(relationName(node.ViewStmt.view));
    } else if ("CreateEnumStmt" in node) this.#made.add(nameOf(node.CreateEnumStmt.typeName ?? []));
    else if ("CreateDomainStmt" in node) this.#made.add(nameOf(node.CreateDomainStmt.domainname ?? []));
    else if ("CompositeTypeStmt" in node) this.#made.add(relationName(node.CompositeTypeStmt.typevar));
    else if ("CreateFunctionStmt" in node) {
      if (node.CreateFunctionStmt.replace !== true) this.#made.add(nameOf(node.CreateFunctionStmt.funcname ?? []));
    } else if ("IndexStmt" in node && this.#isNew(node.IndexStmt.relation))
      this.#made.add(node.IndexStmt.idxname ?? "");
    else if (
      "RenameStmt" in node &&
      this.#isNew(node.RenameStmt.relation) &&
      node.RenameStmt.renameType === "OBJECT_TABLE"
    )
      this.#made.add(node.RenameStmt.newname ?? "");
    else if ("AlterTableStmt" in node && !this.#isNew(node.AlterTableStmt.relation))
      this.#changed.add(relationName(node.AlterTableStmt.relation));
    return hits;
  }

  #isNew(relation: RangeVar | undefined): boolean {
    return relation?.relpersistence === "t" || this.#made.has(relationName(relation));
  }

  #concurrently(node: Node): Hit[] {
    if (this.#count === 1) return [];
    const what =
      "IndexStmt" in node && node.IndexStmt.concurrent === true
        ? "CREATE INDEX CONCURRENTLY"
        : "DropStmt" in node && node.DropStmt.concurrent === true
          ? "DROP INDEX CONCURRENTLY"
          : "ReindexStmt" in node && hasOption(node.ReindexStmt.params, "concurrently")
            ? "REINDEX CONCURRENTLY"
            : undefined;
    return what === undefined ? [] : [{ rule: "concurrently-with-others", what }];
  }

  #statement(node: Node): Hit[] {
    if ("DropStmt" in node) return this.#drop(node.DropStmt);
    if ("GrantStmt" in node) return this.#revoke(node.GrantStmt);
    // Later tables get the current rights, which may exclude the release that serves.
    if ("AlterDefaultPrivilegesStmt" in node) {
      const { action = {} } = node.AlterDefaultPrivilegesStmt;
      return ["OBJECT_TABLE", "OBJECT_SEQUENCE"].includes(action.objtype ?? "") ? this.#revoke(action) : [];
    }
    if ("GrantRoleStmt" in node)
      return node.GrantRoleStmt.is_grant === true ? [] : [{ rule: "revoke", what: "a role's membership" }];
    if ("AlterDomainStmt" in node) return this.#alterDomain(node.AlterDomainStmt);
    if ("DropOwnedStmt" in node) return [{ rule: "drop-object", what: "DROP OWNED" }];
    if ("RenameStmt" in node) return this.#rename(node.RenameStmt);
    if ("AlterObjectSchemaStmt" in node)
      return this.#isNew(node.AlterObjectSchemaStmt.relation)
        ? []
        : [{ rule: "rename", what: `SET SCHEMA ${node.AlterObjectSchemaStmt.newschema ?? ""}` }];
    if ("AlterEnumStmt" in node) {
      const { oldVal, typeName = [] } = node.AlterEnumStmt;
      return oldVal === undefined || this.#made.has(nameOf(typeName))
        ? []
        : [{ rule: "rename", what: `value ${oldVal} of type ${nameOf(typeName)}` }];
    }
    if ("AlterTableStmt" in node) return this.#alterTable(node.AlterTableStmt);
    if ("IndexStmt" in node) {
      const { concurrent, relation, idxname } = node.IndexStmt;
      return concurrent === true || this.#isNew(relation)
        ? []
        : [
            {
              rule: "blocking-index",
              what: `index ${idxname ?? ""} on table ${relationName(relation)}`.replace("  ", " "),
            },
          ];
    }
    if ("TruncateStmt" in node) {
      return (node.TruncateStmt.relations ?? []).flatMap((relation): Hit[] =>
        "RangeVar" in relation && !this.#isNew(relation.RangeVar)
          ? [{ rule: "truncate", what: `table ${relationName(relation.RangeVar)}`, at: relation.RangeVar.location }]
          : [],
      );
    }
    if ("LockStmt" in node) {
      return (node.LockStmt.relations ?? []).flatMap((relation): Hit[] =>
        "RangeVar" in relation && !this.#isNew(relation.RangeVar)
          ? [{ rule: "lock-table", what: `table ${relationName(relation.RangeVar)}` }]
          : [],
      );
    }
    if ("VacuumStmt" in node)
      return hasOption(node.VacuumStmt.options, "full") ? [{ rule: "rewrite", what: "VACUUM FULL" }] : [];
    if ("ClusterStmt" in node)
      return this.#isNew(node.ClusterStmt.relation) ? [] : [{ rule: "rewrite", what: "CLUSTER" }];
    if ("ReindexStmt" in node)
      return hasOption(node.ReindexStmt.params, "concurrently") || this.#isNew(node.ReindexStmt.relation)
        ? []
        : [{ rule: "rewrite", what: "REINDEX" }];
    if ("RefreshMatViewStmt" in node)
      return node.RefreshMatViewStmt.concurrent === true || this.#isNew(node.RefreshMatViewStmt.relation)
        ? []
        : [{ rule: "rewrite", what: `REFRESH MATERIALIZED VIEW ${relationName(node.RefreshMatViewStmt.relation)}` }];
    if ("TransactionStmt" in node)
      return [{ rule: "transaction", what: (node.TransactionStmt.kind ?? "").replace("TRANS_STMT_", "") }];
    if ("VariableSetStmt" in node) return setVariable(node.VariableSetStmt);
    if ("DiscardStmt" in node)
      return node.DiscardStmt.target === "DISCARD_ALL" ? [{ rule: "timeout", what: "DISCARD ALL" }] : [];
    if ("DoStmt" in node) return [{ rule: "unseen", what: "DO block" }];
    if ("RuleStmt" in node) {
      const { relation, rulename = "", event } = node.RuleStmt;
      return event === "CMD_SELECT" || this.#isNew(relation)
        ? []
        : [{ rule: "create-rule", what: `rule ${rulename} on table ${relationName(relation)}` }];
    }
    if ("CreateFunctionStmt" in node || "ViewStmt" in node) return [];
    return [...setByCall(node), ...this.#writes(node)];
  }

  #writes(node: Node): Hit[] {
    return [...writes(node)].flatMap(({ kind, relation, where }): Hit[] =>
      this.#isNew(relation)
        ? []
        : [
            {
              rule: where ? "backfill-where" : "backfill",
              what: `${kind} of table ${relationName(relation)}`,
              at: relation?.location,
            },
          ],
    );
  }

  #revoke({ is_grant, objects = [], objtype, privileges = [] }: GrantStmt): Hit[] {
    if (is_grant === true) return [];
    const names = objects
      .map((object) => ("RangeVar" in object ? relationName(object.RangeVar) : droppedName(object)))
      .filter((name) => !this.#made.has(name));
    if (objects.length > 0 && names.length === 0) return [];
    const rights = privileges.flatMap((right) =>
      "AccessPriv" in right ? [(right.AccessPriv.priv_name ?? "").toUpperCase()] : [],
    );
    return [
      {
        rule: "revoke",
        what: `${rights.length === 0 ? "ALL" : rights.join(", ")} on ${(objtype ?? "").replace("OBJECT_", "").toLowerCase()} ${names.join(", ")}`,
      },
    ];
  }

  #alterDomain({ subtype, typeName = [], def }: AlterDomainStmt): Hit[] {
    const name = nameOf(typeName);
    if (subtype === "T" && def === undefined && !this.#made.has(name))
      return [{ rule: "drop-default", what: `domain ${name}` }];
    // C: a constraint is added, O: NOT NULL is set. Dropping one takes nothing from the release that serves.
    if (this.#made.has(name) || (subtype !== "C" && subtype !== "O")) return [];
    return def !== undefined && "Constraint" in def && def.Constraint.skip_validation === true
      ? []
      : [{ rule: "alter-domain", what: `domain ${name}` }];
  }

  #drop({ removeType, objects = [], concurrent }: DropStmt): Hit[] {
    const names = objects.map(droppedName).filter((name) => !this.#made.has(name));
    const hits = (rule: RuleName, kind: string): Hit[] => names.map((name) => ({ rule, what: `${kind} ${name}` }));
    switch (removeType) {
      case "OBJECT_TABLE":
      case "OBJECT_FOREIGN_TABLE":
        return hits("drop-table", "table");
      case "OBJECT_TRIGGER":
      case "OBJECT_POLICY":
      case "OBJECT_RULE":
        return objects.flatMap((object): Hit[] => {
          const parts = "List" in object ? (object.List.items ?? []) : [];
          const [table, name] = [nameOf(parts.slice(0, -1)), nameOf(parts.slice(-1))];
          return this.#made.has(table) || this.#again.has(`${table}.${name}`)
            ? []
            : [
                {
                  rule: "drop-trigger",
                  what: `${removeType.replace("OBJECT_", "").toLowerCase()} ${name} of table ${table}`,
                },
              ];
        });
      case "OBJECT_TYPE":
      case "OBJECT_DOMAIN":
        return hits("drop-type", "type");
      case "OBJECT_INDEX":
        return concurrent === true ? [] : hits("drop-index-blocking", "index");
      // No statement of a server names these.
      case "OBJECT_STATISTIC_EXT":
      case "OBJECT_EVENT_TRIGGER":
      case "OBJECT_PUBLICATION":
      case "OBJECT_ACCESS_METHOD":
        return [];
      default:
        return hits(
          "drop-object",
          (removeType ?? "")
            .replace("OBJECT_", "")
            .replace("MATVIEW", "materialized view")
            .replace("TSCONFIGURATION", "text search configuration")
            .replace("TSDICTIONARY", "text search dictionary")
            .toLowerCase(),
        );
    }
  }

  #rename({ renameType, relation, object, subname, newname = "" }: RenameStmt): Hit[] {
    if (this.#isNew(relation)) return [];
    switch (renameType) {
      case "OBJECT_TABLE":
      case "OBJECT_VIEW":
      case "OBJECT_MATVIEW":
      case "OBJECT_SEQUENCE":
      case "OBJECT_FOREIGN_TABLE":
        return [{ rule: "rename", what: `${relationName(relation)} to ${newname}` }];
      case "OBJECT_COLUMN":
      case "OBJECT_ATTRIBUTE":
        return [{ rule: "rename", what: `${relationName(relation)}.${subname ?? ""} to ${newname}` }];
      case "OBJECT_TYPE":
      case "OBJECT_DOMAIN":
      case "OBJECT_FUNCTION":
      case "OBJECT_PROCEDURE":
      case "OBJECT_ROUTINE":
      case "OBJECT_SCHEMA": {
        const name = object === undefined ? (subname ?? "") : droppedName(object);
        return this.#made.has(name) ? [] : [{ rule: "rename", what: `${name} to ${newname}` }];
      }
      default:
        return [];
    }
  }

  #alterTable({ relation, cmds = [], objtype }: AlterTableStmt): Hit[] {
    if (this.#isNew(relation) || !alteredLikeTables.has(objtype ?? "")) return [];
    const table = relationName(relation);
    return cmds.flatMap((cmd): Hit[] => {
      if (!("AlterTableCmd" in cmd)) return [];
      const { subtype, name = "", def } = cmd.AlterTableCmd;
      const column = `${table}.${name}`;
      switch (subtype) {
        case "AT_AddColumn":
          return def !== undefined && "ColumnDef" in def ? addedColumn(table, def.ColumnDef) : [];
        case "AT_DropColumn":
          return [{ rule: "drop-column", what: column }];
        case "AT_DropExpression":
          return [{ rule: "drop-expression", what: column }];
        case "AT_ColumnDefault":
          return def === undefined ? [{ rule: "drop-default", what: column }] : [];
        case "AT_DropIdentity":
          return [{ rule: "drop-default", what: column }];
        case "AT_AddIdentity":
        case "AT_SetIdentity":
          return isAlways(def) ? [{ rule: "generated-always", what: column }] : [];
        case "AT_ChangeOwner":
          return [{ rule: "change-owner", what: `table ${table}` }];
        case "AT_SetRelOptions":
          return objtype === "OBJECT_VIEW" && setsInvoker(def)
            ? [{ rule: "revoke", what: `the owner's rights of view ${table}` }]
            : [];
        case "AT_DropInherit":
          return [{ rule: "drop-object", what: `table ${table} from the one that it inherits from` }];
        case "AT_DropConstraint":
          return this.#again.has(column)
            ? []
            : [{ rule: "drop-constraint", what: `constraint ${name} of table ${table}` }];
        case "AT_EnableRowSecurity":
        case "AT_ForceRowSecurity":
          return [{ rule: "row-security", what: `table ${table}` }];
        case "AT_EnableReplicaTrig":
        case "AT_EnableReplicaRule":
        case "AT_DisableTrig":
        case "AT_DisableRule":
          return [{ rule: "drop-trigger", what: `${name} of table ${table}` }];
        case "AT_DisableTrigAll":
        case "AT_DisableTrigUser":
          return [{ rule: "drop-trigger", what: `triggers of table ${table}` }];
        case "AT_DetachPartition":
          return [{ rule: "drop-object", what: `partition of table ${table}` }];
        case "AT_SetExpression":
          return [{ rule: "rewrite", what: `table ${table}` }];
        case "AT_AlterColumnType":
          return [
            {
              rule: "change-type",
              what: column,
              at: def !== undefined && "ColumnDef" in def ? def.ColumnDef.location : undefined,
            },
          ];
        case "AT_SetNotNull":
          return [{ rule: "set-not-null", what: column }];
        case "AT_AddConstraint":
          return def !== undefined && "Constraint" in def ? addedConstraint(table, def.Constraint) : [];
        case "AT_ValidateConstraint":
          return cmds.length > 1 || this.#changed.has(table)
            ? [{ rule: "validate-beside", what: `constraint ${name} of table ${table}` }]
            : [];
        case "AT_SetLogged":
        case "AT_SetUnLogged":
        case "AT_SetTableSpace":
        case "AT_SetAccessMethod":
          return [{ rule: "rewrite", what: `table ${table}` }];
        default:
          return [];
      }
    });
  }
}

/** Objects that ALTER TABLE's grammar also alters, and that the release that serves may use. */
const alteredLikeTables: ReadonlySet<string> = new Set([
  "OBJECT_TABLE",
  "OBJECT_TYPE",
  "OBJECT_FOREIGN_TABLE",
  "OBJECT_VIEW",
  "OBJECT_MATVIEW",
]);

const listOf = (def: Node | undefined): readonly Node[] =>
  def !== undefined && "List" in def ? (def.List.items ?? []) : [];

/** Whether an identity column becomes GENERATED ALWAYS. */
function isAlways(def: Node | undefined): boolean {
  if (def !== undefined && "Constraint" in def) return def.Constraint.generated_when === "a";
  return listOf(def).some(
    (option) =>
      "DefElem" in option &&
      option.DefElem.defname === "generated" &&
      option.DefElem.arg !== undefined &&
      "Integer" in option.DefElem.arg &&
      option.DefElem.arg.Integer.ival === "a".charCodeAt(0),
  );
}

const setsInvoker = (def: Node | undefined): boolean => hasOption(listOf(def), "security_invoker");

const limits = ["lock_timeout", "statement_timeout"];

function setVariable({ kind, name = "", is_local }: VariableSetStmt): Hit[] {
  if (kind === "VAR_RESET_ALL") return [{ rule: "timeout", what: "RESET ALL" }];
  if (limits.includes(name)) return [{ rule: "timeout", what: name }];
  const sets = kind === "VAR_SET_VALUE" && ["role", "session_authorization"].includes(name);
  return sets
    ? [{ rule: "set-role", what: `${is_local === true ? "SET LOCAL" : "SET"} ${name.replace("_", " ").toUpperCase()}` }]
    : [];
}

/** Limits that are set by set_config(), anywhere in a statement. */
function setByCall(value: unknown): Hit[] {
  if (typeof value !== "object" || value === null) return [];
  if (Array.isArray(value)) return value.flatMap(setByCall);
  const call = (value as { FuncCall?: { funcname?: Node[]; args?: Node[] } }).FuncCall;
  const [first] = call?.args ?? [];
  const name = first !== undefined && "A_Const" in first ? first.A_Const.sval?.sval?.toLowerCase() : undefined;
  if (/^(pg_catalog\.)?set_config$/.test(nameOf(call?.funcname ?? [])) && name !== undefined && limits.includes(name))
    return [{ rule: "timeout", what: name }];
  return Object.values(value).flatMap(setByCall);
}

/** Objects of a table that a statement creates, as `table.name`. */
function madeOn(node: Node): string[] {
  if ("CreateTrigStmt" in node)
    return [`${relationName(node.CreateTrigStmt.relation)}.${node.CreateTrigStmt.trigname ?? ""}`];
  if ("CreatePolicyStmt" in node)
    return [`${relationName(node.CreatePolicyStmt.table)}.${node.CreatePolicyStmt.policy_name ?? ""}`];
  if ("RuleStmt" in node) return [`${relationName(node.RuleStmt.relation)}.${node.RuleStmt.rulename ?? ""}`];
  if (!("AlterTableStmt" in node)) return [];
  const table = relationName(node.AlterTableStmt.relation);
  return (node.AlterTableStmt.cmds ?? []).flatMap((cmd) => {
    const def =
      "AlterTableCmd" in cmd && cmd.AlterTableCmd.subtype === "AT_AddConstraint" ? cmd.AlterTableCmd.def : undefined;
    if (def === undefined || !("Constraint" in def)) return [];
    const { contype = "", conname } = def.Constraint;
    // A unique one may now have other columns, which an ON CONFLICT doesn't name.
    return conname !== undefined && ["CONSTR_CHECK", "CONSTR_FOREIGN"].includes(contype) ? [`${table}.${conname}`] : [];
  });
}

const serials = ["serial", "serial2", "serial4", "serial8", "bigserial", "smallserial"];

function addedColumn(table: string, { colname = "", typeName, constraints = [], location }: ColumnDef): Hit[] {
  const column = `${table}.${colname}`;
  const own = constraints.flatMap((constraint) => ("Constraint" in constraint ? [constraint.Constraint] : []));
  const find = (type: Constraint["contype"]): Constraint | undefined => own.find(({ contype }) => contype === type);
  const fallback = find("CONSTR_DEFAULT")?.raw_expr;
  const computed = find("CONSTR_IDENTITY") ?? find("CONSTR_GENERATED");
  const serial = serials.includes(nameOf(typeName?.names ?? []));
  const isNull = fallback !== undefined && "A_Const" in fallback && fallback.A_Const.isnull === true;
  const hits: Hit[] = [];
  if (find("CONSTR_NOTNULL") !== undefined && (fallback === undefined || isNull) && computed === undefined && !serial)
    hits.push({ rule: "not-null-without-default", what: column, at: location });
  if (serial || computed !== undefined || (fallback !== undefined && isVolatile(fallback)))
    hits.push({ rule: "volatile-default", what: column, at: location });
  if (find("CONSTR_UNIQUE") !== undefined) hits.push({ rule: "unique-constraint", what: column, at: location });
  if (find("CONSTR_PRIMARY") !== undefined) hits.push({ rule: "primary-key", what: column, at: location });
  // PostgreSQL doesn't check rows for a foreign key where all values are null.
  const foreignKey = find("CONSTR_FOREIGN") !== undefined && fallback !== undefined && !isNull;
  if (foreignKey || find("CONSTR_CHECK") !== undefined)
    hits.push({ rule: "constraint-not-valid", what: column, at: location });
  return hits;
}

function addedConstraint(table: string, { contype, conname, skip_validation, indexname, location }: Constraint): Hit[] {
  const what = `${conname === undefined ? "constraint" : `constraint ${conname}`} of table ${table}`;
  switch (contype) {
    case "CONSTR_UNIQUE":
      return indexname === undefined ? [{ rule: "unique-constraint", what, at: location }] : [];
    case "CONSTR_EXCLUSION":
      return [{ rule: "unique-constraint", what, at: location }];
    case "CONSTR_PRIMARY":
      return indexname === undefined ? [{ rule: "primary-key", what, at: location }] : [];
    case "CONSTR_CHECK":
    case "CONSTR_FOREIGN":
      return skip_validation === true ? [] : [{ rule: "constraint-not-valid", what, at: location }];
    default:
      return [];
  }
}
