/** Small helpers for nodes of PostgreSQL's parse tree. */
import type { Node, RangeVar } from "libpg-query";

/** The name in the parser's list of name parts: `public.a` is `a`. */
export function nameOf(parts: readonly (Node | undefined)[]): string {
  const names = parts.flatMap((part) => (part !== undefined && "String" in part ? [part.String.sval ?? ""] : []));
  return (names[0] === "public" ? names.slice(1) : names).join(".");
}

export function relationName(relation: RangeVar | undefined): string {
  const { schemaname, relname = "" } = relation ?? {};
  return schemaname === undefined || schemaname === "public" ? relname : `${schemaname}.${relname}`;
}

export const hasOption = (options: readonly Node[] | undefined, name: string): boolean =>
  options?.some((option) => "DefElem" in option && option.DefElem.defname === name) ?? false;

/** The text of a DO block. */
export function doBody(node: Node): string {
  if (!("DoStmt" in node)) return "";
  return (node.DoStmt.args ?? [])
    .flatMap((arg) =>
      "DefElem" in arg && arg.DefElem.defname === "as" && arg.DefElem.arg !== undefined && "String" in arg.DefElem.arg
        ? [arg.DefElem.arg.String.sval ?? ""]
        : [],
    )
    .join("\n");
}
